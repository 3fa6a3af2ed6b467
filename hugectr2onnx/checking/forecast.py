"""Forecast what a compilation takes: bytes on the disk, memory, time; and whether the disk has the room.

Bytes are exact but for the graph itself and a perfect hash (a few percent). Memory is the peak beyond the imports. Time is
rough: it goes by rates of one machine with tables in the system's cache.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from hugectr2onnx.backend.onnx import PROTOBUF_LIMIT
from hugectr2onnx.backend.saving.key_file import KeyFile
from hugectr2onnx.backend.saving.writable import existing_folder
from hugectr2onnx.errors import OutputError, Setting
from hugectr2onnx.ir.graph import Graph, Node
from hugectr2onnx.ir.ops.lookup import Lookup
from hugectr2onnx.passes.lookups.choose_key_map import expect_key_maps
from hugectr2onnx.passes.lookups.row_number_inputs import source_of
from hugectr2onnx.passes.lookups.strategies import INDICES, PERFECT_HASH, Choice
from hugectr2onnx.passes.lookups.strategies import STRATEGIES_BY_NAME as STRATEGIES
from hugectr2onnx.tables.row_format import FORMATS_BY_NAME, FP32, RowFormat

BASE_MEMORY_BYTES = 300 << 20
"""Peak memory of a compilation beyond the imports and the tables."""
MAX_ENCODER_BYTES = PROTOBUF_LIMIT - (1 << 16)
"""Bytes of LabelEncoder keys that the model file can hold beside the graph; no external file can hold them."""
START_SECONDS = 1.5
READ_RATE = 4.0e9
"""Bytes a second at which a table is looked over; rows in smaller formats take as long once more."""
WRITE_RATE = 8.0e8


@dataclass(frozen=True)
class TableForecast:
    """One table as it will be stored: its rows, and the map from key to row, missing rows and `.keys` files among it."""

    table: str
    strategy: str
    format: str
    rows: int
    width: int
    map_bytes: int
    filler_rows: int = 0

    @property
    def row_bytes(self) -> int:
        return self.rows * FORMATS_BY_NAME[self.format].row_bytes(self.width)

    @property
    def memory_bytes(self) -> int:
        """For its keys, whatever the width: rows, missing ones too, go to the disk as they are read."""
        return STRATEGIES[self.strategy].memory_bytes(self.rows, self.map_bytes, self.filler_rows)


@dataclass(frozen=True)
class Forecast:
    """The whole model. `free_bytes` are those of the disk where it will lie, None where no place was given."""

    dense_bytes: int
    table_bytes: int
    map_bytes: int
    memory_bytes: int
    seconds: float
    free_bytes: int | None = None
    tables: tuple[TableForecast, ...] = ()

    @property
    def output_bytes(self) -> int:
        return self.dense_bytes + self.table_bytes + self.map_bytes


def forecast(
    dense_bytes: int, tables: Sequence[TableForecast], output: str | os.PathLike[str] | None = None
) -> Forecast:
    """Return the sums over all tables."""
    stored = sum(table.row_bytes for table in tables)
    maps = sum(table.map_bytes for table in tables)
    source = sum(4 * table.rows * table.width * (1 if table.format == FP32.name else 2) for table in tables)
    keys = sum(STRATEGIES[table.strategy].seconds_per_key * table.rows for table in tables)
    return Forecast(
        dense_bytes=dense_bytes,
        table_bytes=stored,
        map_bytes=maps,
        memory_bytes=BASE_MEMORY_BYTES + dense_bytes + sum(table.memory_bytes for table in tables),
        seconds=START_SECONDS + source / READ_RATE + (dense_bytes + stored + maps) / WRITE_RATE + keys,
        free_bytes=free_bytes(output) if output is not None else None,
        tables=tuple(tables),
    )


def expected_tables(
    graph: Graph, keys: str | Mapping[str, str], tops: Collection[str] | None = None, *, automatic: bool = True
) -> Iterator[TableForecast]:
    """Yield the tables of a graph that no pass has touched, each once; with `tops` only those of these look-ups.

    automatic: whether "auto" chooses, as from level 2 on, or is a LabelEncoder. Raises UnsupportedError as choosing their
    key maps would.
    """
    nodes = [node for node in graph if isinstance(node.op, Lookup)]
    readers: dict[object, list[tuple[Node, Choice]]] = {}
    for node, choice in zip(nodes, expect_key_maps(graph, keys, automatic=automatic), strict=True):
        assert isinstance(node.op, Lookup)
        if tops is None or set(node.sources) & set(tops):
            readers.setdefault((node.inputs[2], node.op.row_format), []).append((node, choice))
    for own in readers.values():
        (node, choice), *_ = own
        assert isinstance(node.op, Lookup)
        rows, width = node.inputs[2].type.concrete(1)
        size = _map_bytes(choice, [reader for reader, _ in own])
        yield TableForecast(
            choice.table, choice.strategy, node.op.row_format.name, rows, width, size, filler_rows=choice.filler_rows
        )


def _map_bytes(choice: Choice, readers: Sequence[Node]) -> int:
    """With row numbers as inputs a map lies beside the model, one for each input."""
    if choice.strategy != INDICES.name:
        return choice.map_bytes
    sizes = {}
    for node in readers:
        source, offsets = source_of(node)
        keys = node.inputs[1].const
        assert keys is not None
        sizes[source] = KeyFile(source.node.name, choice.table, keys, offsets).size
    return sum(sizes.values())


def minimum_bytes(dense_bytes: int, vector_files: Iterable[tuple[int, RowFormat, int]]) -> int:
    """Tell what a model takes at least, from (bytes of the float32 vectors, format, width) of each table: no file is opened."""
    return dense_bytes + sum(size // (4 * width) * format.row_bytes(width) for size, format, width in vector_files)


def encoder_size_error(tables: Iterable[TableForecast]) -> OutputError | None:
    """Return the error of keys that the model file cannot hold."""
    encoded = [table for table in tables if STRATEGIES[table.strategy].is_in_model_file]
    needed = sum(table.map_bytes for table in encoded)
    if needed <= MAX_ENCODER_BYTES:
        return None
    return OutputError(
        f"The keys of {', '.join(table.table for table in encoded)} take {needed:,} bytes as a LabelEncoder, which lies in the "
        "model file itself, and protobuf allows that 2 GiB: give ",
        Setting("keys", PERFECT_HASH.name),
        ", or leave the choice to level 2 or 3",
    )


def free_bytes(output: str | os.PathLike[str]) -> int | None:
    """Tell what the disk can take where a file shall lie; None where the system does not say."""
    try:
        return shutil.disk_usage(existing_folder(output)).free
    except (OSError, ValueError, OutputError):
        return None


def disk_space_error(output: str | os.PathLike[str], needed: int, free: int | None) -> OutputError | None:
    """Return the error of a disk that cannot hold so many bytes."""
    if free is None or needed <= free:
        return None
    return OutputError(
        f"Cannot write {os.fspath(output)}: the model needs {needed:,} bytes and the disk has {free:,} left. Free space "
        "there, choose another disk, or a smaller row format: ",
        Setting("embedding", "fp16"),
        " or int8",
    )
