"""Report how each table of a model is stored, and what that costs and saves."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace

from hugectr2onnx.errors import Setting, UnsupportedError
from hugectr2onnx.ir.graph import Graph, Node
from hugectr2onnx.ir.ops.lookup import Lookup, table_label
from hugectr2onnx.passes.lookups.strategies import Choice
from hugectr2onnx.tables.row_format import FORMATS_BY_NAME, FP32, RowFormat
from hugectr2onnx.tables.vectors import vectors_of


class FormatRefusedError(UnsupportedError):
    """A table cannot be stored in the `format` that was asked for; `tops` are those of the look-ups that read it so."""

    def __init__(self, *message: object, format: str, tops: tuple[str, ...]):
        super().__init__(*message)
        self.format = format
        self.tops = tops


@dataclass(frozen=True)
class TableStorage:
    """One table: its rows in the model, bytes as float32 and as they are stored, the errors of its numbers.

    `rows_dropped` are those that `keep_keys` left out, `filler_rows` those that a direct key map adds for numbers that are
    no keys, `bytes_saved` what format, dropped rows and fillers save together. `tops` are those of the look-ups.
    """

    table: str
    format: str
    rows: int
    width: int
    bytes_before: int
    bytes_after: int
    max_error: float
    rms_error: float
    rows_dropped: int = 0
    filler_rows: int = 0
    tops: tuple[str, ...] = ()

    @property
    def bytes_saved(self) -> int:
        return self.bytes_before - self.bytes_after


def stored_tables(graph: Graph) -> Iterator[TableStorage]:
    """Yield the tables of a graph that no pass has touched, in the order of their look-ups.

    Reads a table once where it is not stored as it is. Raises FormatRefusedError for a format that cannot hold its numbers.
    """
    readers: dict[object, list[Node]] = {}
    for node in graph:
        if isinstance(node.op, Lookup):
            readers.setdefault((node.inputs[2], node.op.row_format), []).append(node)
    for nodes in readers.values():
        tops = tuple(dict.fromkeys(top for node in nodes for top in node.sources))
        op = nodes[0].op
        assert isinstance(op, Lookup)
        yield _stored(nodes[0], op.row_format, tops)


def format_warnings(tables: Iterable[tuple[str, str, int]], asked: str | Mapping[str, str]) -> Iterator[str]:
    """Tell where one format was asked for all tables and a table (its name, format and width) has another one."""
    if not isinstance(asked, str):
        return
    for table, format, width in tables:
        if format != asked:
            yield (
                f"{table} is stored as {format}, not as {asked}: with a scale for each row {asked} would not be smaller "
                f"for rows of {width} numbers, and less exact"
            )


def with_fillers(tables: Iterable[TableStorage], key_maps: Iterable[Choice]) -> tuple[TableStorage, ...]:
    """Return the same with the rows that their key maps add, which are chosen later."""
    added = {choice.table: choice.filler_rows for choice in key_maps}
    return tuple(_filled(table, added.get(table.table, 0)) for table in tables)


def _filled(table: TableStorage, fillers: int) -> TableStorage:
    size = (table.rows + fillers) * FORMATS_BY_NAME[table.format].row_bytes(table.width)
    return replace(table, filler_rows=fillers, bytes_after=size)


def _stored(node: Node, format: RowFormat, tops: tuple[str, ...]) -> TableStorage:
    const = node.inputs[2].const
    assert const is not None
    rows, width = const.shape
    vectors = vectors_of(const)
    measured = vectors.measured(format)
    if measured.is_refused:
        raise FormatRefusedError(
            f"{table_label(node)} cannot be {format}: it holds {format.refusal}; keep it as it is with ",
            Setting("embedding", {node.sources[0]: FP32.name}),
            format=format.name,
            tops=tops,
        )
    before = (rows + vectors.dropped) * FP32.row_bytes(width)
    after = rows * format.row_bytes(width)
    errors = measured.max_error, measured.rms_error
    dropped = vectors.dropped
    return TableStorage(table_label(node), format.name, rows, width, before, after, *errors, dropped, tops=tops)
