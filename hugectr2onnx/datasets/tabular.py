"""CSV, Arrow files, and tables in memory (pandas, polars, Arrow) as sources of samples."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from hugectr2onnx.datasets.arrow_columns import pyarrow
from hugectr2onnx.datasets.columns import Columns
from hugectr2onnx.datasets.files import head
from hugectr2onnx.datasets.parquet import Pieces, Table, TableSource, table_source
from hugectr2onnx.datasets.schema import Schema
from hugectr2onnx.errors import FeedError

CSV_BLOCK_BYTES = 4 << 20
DELIMITERS = ",\t;|"
STREAM_MAGIC = b"\xff\xff\xff\xff"
"""What an Arrow stream begins with; a file begins with ARROW1."""
BYTE_ORDER_MARK = "\ufeff"


def open_csv(paths: Sequence[Path], schema: Schema, columns: Columns | None) -> TableSource:
    """CSV files with a line of names first. Raises FeedError for files that do not fit the model."""
    return table_source([_csv_table(path) for path in paths], schema, columns)


def open_arrow(paths: Sequence[Path], schema: Schema, columns: Columns | None) -> TableSource:
    """Arrow IPC files (Feather v2). Raises FeedError for files that do not fit the model."""
    return table_source([_arrow_table(path) for path in paths], schema, columns)


def open_frame(frame: Any, schema: Schema, columns: Columns | None) -> TableSource:
    """Yield a pandas or polars frame, an Arrow table, or anything with the Arrow stream interface."""
    table = _as_arrow(frame)

    def read(names: Sequence[str], size: int) -> Pieces:
        yield from table.select(list(names)).to_batches(max_chunksize=size)

    where = f"the {type(frame).__module__.partition('.')[0]} {type(frame).__name__}"
    return table_source([Table(where, table.schema, table.num_rows, read)], schema, columns)


def is_frame(data: object) -> bool:
    """Tell whether a value is a table in memory."""
    return hasattr(data, "__arrow_c_stream__") or type(data).__module__.startswith("pandas")


def _as_arrow(frame: Any) -> Any:
    module = pyarrow()
    try:
        if type(frame).__module__.startswith("pandas"):
            return module.Table.from_pandas(frame, preserve_index=False)
        return module.table(frame)
    except (module.ArrowException, TypeError, ValueError, AttributeError) as error:
        raise FeedError(f"the {type(frame).__name__} is not a table that Arrow can hold: {error}") from error


def csv_delimiter(start: bytes) -> str | None:
    """Tell what stands between the names in the first line of a CSV file; None where its first bytes are no line of names."""
    if b"\0" in start:
        return None
    try:
        line = start.splitlines()[0].decode().removeprefix(BYTE_ORDER_MARK) if start else ""
    except UnicodeDecodeError:
        return None
    found = max(DELIMITERS, key=line.count)
    return found if found in line and line.replace("\t", " ").isprintable() else None


def _csv_table(path: Path) -> Table:
    module = pyarrow()
    import pyarrow.csv as csv

    parse = csv.ParseOptions(delimiter=csv_delimiter(head(path)) or ",")
    reading = csv.ReadOptions(block_size=CSV_BLOCK_BYTES, use_threads=False)

    def opened(names: Sequence[str] | None = None) -> Any:
        convert = csv.ConvertOptions(include_columns=list(names) if names else None, column_types=_types)
        return csv.open_csv(path, reading, parse, convert)

    _types: dict[str, Any] = {}
    try:
        with opened() as reader:
            schema = reader.schema
    except (module.ArrowException, OSError) as error:
        raise FeedError(f"{path}: cannot be read as CSV: {str(error).splitlines()[0]}") from error
    # What the first block shows settles the types: a column that is empty there would change its type later.
    _types.update({entry.name: entry.type for entry in schema})

    def read(names: Sequence[str], size: int) -> Pieces:
        with opened(names) as reader:
            yield from reader

    return Table(str(path), schema, None, read)


def _arrow_table(path: Path) -> Table:
    module = pyarrow()
    is_stream = head(path).startswith(STREAM_MAGIC)
    try:
        with module.OSFile(str(path)) as file, _arrow_reader(file, is_stream) as reader:
            schema = reader.schema
            rows = None if is_stream else sum(piece.num_rows for piece in _record_batches(reader))
    except (module.ArrowException, OSError) as error:
        raise FeedError(f"{path}: is not a whole Arrow file: {str(error).splitlines()[0]}") from error

    def read(names: Sequence[str], size: int) -> Pieces:
        with module.OSFile(str(path)) as file, _arrow_reader(file, is_stream) as opened:
            for piece in _record_batches(opened):
                yield piece.select(list(names))

    return Table(str(path), schema, rows, read)


def _arrow_reader(file: Any, is_stream: bool) -> Any:
    ipc = pyarrow().ipc
    return ipc.open_stream(file) if is_stream else ipc.open_file(file)


def _record_batches(reader: Any) -> Pieces:
    """Yield the record batches of a stream, which iterates, or of a file, which gives them by number."""
    if hasattr(reader, "num_record_batches"):
        yield from (reader.get_batch(index) for index in range(reader.num_record_batches))
    else:
        yield from reader
