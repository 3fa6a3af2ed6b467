"""The tables of an EmbeddingCollection for a report: no layer of the graph speaks of them, a description does."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from hugectr2onnx.checking.report import FLOAT_BYTES, TableCheck
from hugectr2onnx.frontend.embeddings.embedding_collection import Collection
from hugectr2onnx.frontend.graph_json.clauses import DataClause
from hugectr2onnx.tables.vectors import vectors_of

TYPE = "EmbeddingCollection"


def collection_tables(collection: Collection, data: DataClause, *, is_needed: bool) -> Iterator[TableCheck]:
    """Yield each table that a look-up reads, as it lies in the dump: rows that `keep_keys` drops are among it."""
    hotness = {entry.top: entry.max_nnz for entry in data.sparse}
    for id, name in collection.names.items():
        table = collection.tables[id]
        uses = [
            (lookup.top, bottom, combiner)
            for lookup in collection.lookups
            for number, bottom, combiner in zip(lookup.tables, lookup.bottoms, lookup.combiners, strict=True)
            if number == id
        ]
        tops, bottoms, combiners = (_listed(column) for column in zip(*uses, strict=True))
        rows = len(table.keys) + vectors_of(table.vectors).dropped
        size = FLOAT_BYTES * rows * table.vectors.shape[1]
        yield TableCheck(
            index=None,
            type=TYPE,
            bottom=bottoms,
            top=f"{tops} ({name})",
            slots=1,
            max_nnz=max((hotness.get(bottom, 1) for _, bottom, _ in uses), default=1),
            vec_size=table.vectors.shape[1],
            combiner=combiners,
            is_needed=is_needed,
            path=str(table.path),
            rows=rows,
            smallest_key=int(table.keys.min()) if len(table.keys) else None,
            largest_key=int(table.keys.max()) if len(table.keys) else None,
            expected_bytes=size,
            found_bytes=size,
        )


def _listed(names: Iterable[str]) -> str:
    return ", ".join(dict.fromkeys(names))
