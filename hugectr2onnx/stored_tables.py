"""How the tables of a model are stored, and what that costs and saves: an entry of the report for each."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from hugectr2onnx.errors import UnsupportedError
from hugectr2onnx.ir.graph import Graph, Node
from hugectr2onnx.ir.ops.lookup import Lookup, table_label
from hugectr2onnx.ir.row_format import RowFormat, row_bytes, vectors_of


@dataclass(frozen=True)
class StoredTable:
    """One table: its rows in the model, bytes as float32 and as they are stored, the errors of its numbers.

    `rows_dropped` are those that `keep_keys` left out, `bytes_saved` what format and dropped rows save together.
    """

    table: str
    format: RowFormat
    rows: int
    width: int
    bytes_before: int
    bytes_after: int
    max_error: float
    rms_error: float
    rows_dropped: int = 0

    @property
    def bytes_saved(self) -> int:
        return self.bytes_before - self.bytes_after


def stored_tables(graph: Graph) -> Iterator[StoredTable]:
    """The tables of a graph that no pass has touched, in the order of their look-ups.

    Reads a table once where it is not stored as it is. Raises UnsupportedError for a format that cannot hold its numbers.
    """
    seen = set()
    for node in graph:
        if isinstance(node.op, Lookup):
            place = node.inputs[2], node.op.row_format
            if place not in seen:
                seen.add(place)
                yield _stored(node, node.op.row_format)


def _stored(node: Node, format: RowFormat) -> StoredTable:
    const = node.inputs[2].const
    assert const is not None
    rows, width = const.shape
    vectors = vectors_of(const)
    measured = vectors.measured(format)
    if measured.max_error == float("inf"):
        raise UnsupportedError(
            f"{table_label(node)} cannot be {format}: "
            + ("it holds numbers beyond 65504" if format == "fp16" else "it holds NaN or infinite numbers")
            + f'; keep it as it is with embedding={{"{node.sources[0]}": "fp32"}}'
        )
    before = 4 * (rows + vectors.dropped) * width
    after = rows * row_bytes(format, width)
    errors = measured.max_error, measured.rms_error
    return StoredTable(table_label(node), format, rows, width, before, after, *errors, rows_dropped=vectors.dropped)
