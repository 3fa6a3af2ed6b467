"""`hugectr2onnx table`: the keys and rows of an embedding table."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from hugectr2onnx.cli.arguments import add_json, add_weights, weights_of
from hugectr2onnx.cli.entry import UsageError
from hugectr2onnx.cli.output import Output

if TYPE_CHECKING:
    from hugectr2onnx.inspection.embedding_table import EmbeddingTable

SHOWN_ROWS = 5
SHOWN_NUMBERS = 6


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.usage = "%(prog)s SNAPSHOT [--top NAME] [-o FILE | --lookup KEYS] [options]"
    parser.add_argument(
        "source",
        metavar="SNAPSHOT",
        help="the folder of one table (..._sparse_N.model), or a graph JSON with --weights",
    )
    parser.add_argument("--top", metavar="NAME", help="the top of the embedding layer, where there are several")
    parser.add_argument("--width", type=int, metavar="N", help="floats a row, of a single-file table of v2.x and v3.0")
    parser.add_argument("-o", "--output", metavar="FILE", help="write keys and rows: .parquet, .arrow or .npz")
    parser.add_argument("--force", action="store_true", help="overwrite FILE")
    parser.add_argument("--lookup", metavar="17,4", help="show the rows of these keys")
    add_weights(parser)
    add_json(parser)


def run(arguments: argparse.Namespace, output: Output) -> int:
    table = _table(arguments)
    if arguments.lookup:
        return _look_up(table, arguments.lookup, output)
    if arguments.output:
        from hugectr2onnx.inspection.table_files import write_table

        write_table(table, arguments.output, force=arguments.force)
    _show(table, arguments.output, output)
    return 0


def _table(arguments: argparse.Namespace) -> EmbeddingTable:
    from hugectr2onnx.inspection.embedding_table import read_snapshot_table, read_table

    weights = weights_of(arguments)
    if weights is not None:
        return read_snapshot_table(arguments.source, weights, arguments.top)
    if Path(arguments.source).suffix == ".json":
        raise UsageError("give the weights of the graph: --weights FOLDER")
    return read_table(arguments.source, width=arguments.width, key_bytes=arguments.key_bytes)


def _look_up(table: EmbeddingTable, text: str, output: Output) -> int:
    try:
        keys = [int(part) for part in text.split(",")]
    except ValueError:
        raise UsageError(f"--lookup {text[:60]!r}: give keys with commas between them, such as 17,4") from None
    found = table.lookup(keys)
    output.table(
        ("key", "row"),
        [(key, _numbers(row.tolist()) if row is not None else "not in the table") for key, row in found.items()],
    )
    if output.json:
        output.data({"rows": {str(key): None if row is None else row.tolist() for key, row in found.items()}})
    return 0


def _numbers(row: list[float]) -> str:
    more = ", ..." if len(row) > SHOWN_NUMBERS else ""
    return ", ".join(f"{number:.6g}" for number in row[:SHOWN_NUMBERS]) + more


def _show(table: EmbeddingTable, path: str | None, output: Output) -> None:
    place = f" -> {path}" if path else ""
    output.say(f"{table.name}: {len(table):,} rows of {table.width}{place}")
    first = zip(table.keys[:SHOWN_ROWS].tolist(), table.rows[:SHOWN_ROWS].tolist(), strict=True)
    output.table(("key", "row"), [(key, _numbers(row)) for key, row in first])
    if output.json:
        keys = table.keys
        output.data(
            {
                "name": table.name,
                "rows": len(table),
                "width": table.width,
                "smallest_key": int(keys.min()) if len(table) else None,
                "largest_key": int(keys.max()) if len(table) else None,
                "path": path,
            }
        )
