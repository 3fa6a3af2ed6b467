"""`read_table`: the keys and rows of one embedding table, to look at or to take elsewhere."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from hugectr2onnx.errors import FeedError, WeightsError
from hugectr2onnx.frontend.graph_json import reader
from hugectr2onnx.frontend.graph_json.clauses import EmbeddingClause
from hugectr2onnx.frontend.graph_json.embedding import LOCALIZED
from hugectr2onnx.frontend.layers.layer import REGISTRY
from hugectr2onnx.frontend.suggestion import nearest
from hugectr2onnx.frontend.weights.snapshot import Weights, resolve
from hugectr2onnx.frontend.weights.sparse_table import open_table
from hugectr2onnx.ir.types import Array

_PIECE_ROWS = 1 << 16
UNKNOWN_TYPE = LOCALIZED
"""A table folder does not say of which type it is; this one has a slot_id file, which is read where there is one."""


@dataclass(frozen=True, eq=False)
class EmbeddingTable:
    """`keys` int64 [n] and `rows` float32 [n, width], in the order of the file, both memory-mapped.

    `slot_ids` int64 [n] where the file has them. `name` is where it was read from.
    """

    name: str
    keys: Array
    rows: Array
    slot_ids: Array | None = None

    def __len__(self) -> int:
        return len(self.keys)

    @property
    def width(self) -> int:
        return int(self.rows.shape[1])

    def lookup(self, keys: Iterable[int]) -> dict[int, Array | None]:
        """Return the row of each key, None for a key that the table lacks; of a key that stands twice, the first row."""
        wanted = np.asarray(list(keys), np.int64)
        found: dict[int, Array | None] = dict.fromkeys(wanted.tolist())
        for start in range(0, len(self), _PIECE_ROWS):
            part = np.asarray(self.keys[start : start + _PIECE_ROWS])
            for place in np.flatnonzero(np.isin(part, wanted)).tolist():
                if found[int(part[place])] is None:
                    found[int(part[place])] = np.array(self.rows[start + place])
        return found

    def pieces(self, rows: int = _PIECE_ROWS) -> Iterator[dict[str, Array]]:
        """Yield columns `key`, `vector` and, where there are any, `slot_id`, some rows at a time."""
        for start in range(0, len(self), rows):
            part = slice(start, start + rows)
            columns = {"key": np.asarray(self.keys[part])}
            if self.slot_ids is not None:
                columns["slot_id"] = np.asarray(self.slot_ids[part])
            yield columns | {"vector": np.asarray(self.rows[part])}

    def __repr__(self) -> str:
        return f"<EmbeddingTable {self.name}: {len(self):,} rows of {self.width}>"


def read_table(
    path: str | os.PathLike[str], *, width: int | None = None, key_bytes: int | None = None
) -> EmbeddingTable:
    """Return one table of a snapshot: a folder `..._sparse_N.model`, or the single file of v2.x and v3.0 (formats 2.1, 2.3).

    width: floats a row; a folder tells it by the sizes of its files, a single file does not. Raises WeightsError for
    files that are missing or do not fit one another.
    """
    place = Path(path)
    if width is None:
        width = _width_of(place)
    table = open_table(place, width, _type_of(place), key_bytes)
    return EmbeddingTable(str(place), table.keys, table.vectors, table.slot_ids)


def _type_of(place: Path) -> str:
    return UNKNOWN_TYPE if os.path.exists(place / "slot_id") else "DistributedSlotSparseEmbeddingHash"


def _width_of(place: Path) -> int:
    """Return the floats of a row by the sizes of the files of a folder."""
    if not os.path.isdir(place):
        raise WeightsError(
            f"{place}: a single file does not tell how wide its rows are; give width (embedding_vec_size)"
        )
    try:
        keys, vectors = (place / "key").stat().st_size // 8, (place / "emb_vector").stat().st_size // 4
    except OSError as error:
        raise WeightsError(
            f"{place}: lacks {Path(error.filename).name}; is it the folder of an embedding table?"
        ) from error
    if not keys or vectors % keys or not vectors:
        raise WeightsError(f"{place}: {keys} keys and {vectors} floats do not make whole rows; one file is truncated")
    return vectors // keys


def read_snapshot_table(
    graph: str | os.PathLike[str] | Mapping[str, Any], weights: object, top: str | None = None
) -> EmbeddingTable:
    """Return the table of the embedding layer `top` of a snapshot; of the only one where `top` is None.

    Raises FeedError for a top that is not an embedding's, with those there are.
    """
    from hugectr2onnx.frontend import loading
    from hugectr2onnx.options import Options

    clauses = reader.read(graph, REGISTRY.keys())
    files: Weights = resolve(weights)
    owners = loading.table_owners(clauses, files, Options())
    clause = _chosen(owners, top)
    table = loading.open_for(clause, files.tables[owners.index(clause)], files.key_bytes or clauses.key_bytes)
    return EmbeddingTable(clause.top, table.keys, table.vectors, table.slot_ids)


def _chosen(clauses: list[EmbeddingClause], top: str | None) -> EmbeddingClause:
    tops = [clause.top for clause in clauses]
    if top is None and len(clauses) == 1:
        return clauses[0]
    if top not in tops:
        listed = ", ".join(tops) or "none"
        near = f" ({nearest(top, tops)})" if top is not None and tops else ""
        asked = "say which table" if top is None else f"there is no table {top!r}{near}"
        raise FeedError(f"{asked}; the model has {listed}")
    return clauses[tops.index(top)]
