"""Plan what each table of a model should hold, before anything is written."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import accumulate

from hugectr2onnx.errors import WeightsError
from hugectr2onnx.frontend.graph_json.clauses import DataClause, EmbeddingClause, GraphClauses, SparseInput
from hugectr2onnx.frontend.graph_json.embedding import HYBRID, ONE_HOT
from hugectr2onnx.sample_models.key_styles import KEY_STYLES, KeyStyle

DEFAULT_ROWS = 1000
MOST_FLOATS = 1 << 29

Rows = int | Mapping[str, int] | None
Keys = KeyStyle | Mapping[str, KeyStyle] | None


@dataclass(frozen=True)
class TablePlan:
    """One table: `place` of its embedding layer, how many rows, which keys.

    `sizes` are the vocabularies of its slots where they are known, `first` the offset of slot 0.
    """

    place: int
    clause: EmbeddingClause
    sparse: SparseInput
    rows: int
    style: KeyStyle
    first: int = 0
    sizes: tuple[int, ...] | None = None


def plan_tables(
    clauses: GraphClauses, rows: Rows, keys: Keys, slot_size_array: Sequence[int] | None
) -> tuple[TablePlan, ...]:
    """Return a plan for each embedding that HugeCTR writes, which are all but Hybrid ones (formats 2.4).

    Raises WeightsError for a table that is too large to invent, and for arguments that do not fit the graph.
    """
    tops = [clause.top for clause in clauses.embeddings]
    for what, given in (("rows", rows), ("keys", keys)):
        for name in given if isinstance(given, Mapping) else ():
            if name not in tops:
                raise WeightsError(f"{what} names {name!r}, which is no embedding's top ({', '.join(tops) or 'none'})")
    reader = dict(reader_sizes(clauses.data, slot_size_array or ()))
    return tuple(
        _plan(place, clause, clauses.data, rows, keys, reader)
        for place, clause in enumerate(clauses.embeddings)
        if clause.type != HYBRID
    )


def _plan(
    place: int,
    clause: EmbeddingClause,
    data: DataClause,
    rows: Rows,
    keys: Keys,
    reader: Mapping[str, tuple[int, tuple[int, ...]]],
) -> TablePlan:
    sparse = next(entry for entry in data.sparse if entry.top == clause.bottom)
    style = keys.get(clause.top) if isinstance(keys, Mapping) else keys
    if style is not None and style not in KEY_STYLES:
        raise WeightsError(f"keys of {clause.top}: expected one of {', '.join(KEY_STYLES)}, found {style!r}")
    first, sizes = reader.get(sparse.top, (0, clause.slot_size_array or ()))
    if clause.type == ONE_HOT or not any(sizes):
        first, sizes = 0, clause.slot_size_array or ()
    style = style or KEY_STYLES[place % len(KEY_STYLES)]
    return TablePlan(place, clause, sparse, _rows(clause, rows), style, first, sizes if any(sizes) else None)


def _rows(clause: EmbeddingClause, rows: Rows) -> int:
    wanted = rows.get(clause.top) if isinstance(rows, Mapping) else rows
    count = sum(clause.slot_size_array or ()) if clause.type == ONE_HOT else DEFAULT_ROWS if wanted is None else wanted
    if isinstance(count, bool) or not isinstance(count, int) or count < 0:
        raise WeightsError(f"rows of {clause.top}: expected a number from 0 up, found {count!r}")
    if count * clause.vec_size > MOST_FLOATS:
        raise WeightsError(
            f"{clause.where}: {count} rows of {clause.vec_size} floats are more than the {MOST_FLOATS} floats that are "
            "invented; ask for fewer rows, or make slot_size_array smaller where the table holds the whole vocabulary"
        )
    return count


def reader_sizes(data: DataClause, slot_size_array: Sequence[int]) -> Iterator[tuple[str, tuple[int, tuple[int, ...]]]]:
    """For each sparse input the offset of its first slot and the sizes of its slots (formats 4.1)."""
    if any(isinstance(size, bool) or not isinstance(size, int) or size < 0 for size in slot_size_array):
        raise WeightsError(f"slot_size_array: expected numbers from 0 up, found {list(slot_size_array)[:50]}")
    offsets = [0, *accumulate(slot_size_array)]
    place = 0
    for sparse in data.sparse:
        if own := tuple(slot_size_array[place : place + sparse.slot_num]):
            yield sparse.top, (offsets[place], own)
        place += sparse.slot_num
