"""Parquet and other tables with named columns, read by pyarrow in pieces, as HugeCTR's Parquet reader takes them.

(formats 4.2)
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from functools import cached_property, partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from hugectr2onnx.datasets.arrow_columns import ColumnKinds, PieceReader, is_list, plain, pyarrow
from hugectr2onnx.datasets.columns import Columns, by_name, check_counts
from hugectr2onnx.datasets.metadata import Metadata, read_metadata
from hugectr2onnx.datasets.read_ahead import read_ahead
from hugectr2onnx.datasets.rows import Rows, before_damage
from hugectr2onnx.datasets.schema import Schema
from hugectr2onnx.errors import FeedError

if TYPE_CHECKING:
    import pyarrow as pa

BUFFER_BYTES = 1 << 20
_PIECE_ROWS = 1 << 15
"""Rows that are decoded at once where a batch is smaller: what each piece costs is then shared by several batches."""
_UNKNOWN_LENGTH = -1
_KEY_TYPES = ("int32", "uint32", "int64", "uint64")


Pieces = Generator["pa.RecordBatch", None, None]


@dataclass(frozen=True)
class Table:
    """One file, or one table in memory: `names` and `kinds` of its columns and a function that reads some of them."""

    where: str
    schema: pa.Schema
    rows: int | None
    read: Callable[[Sequence[str], int], Pieces]

    @cached_property
    def kinds(self) -> ColumnKinds:
        return ColumnKinds.of_schema(self.schema)


@dataclass(frozen=True)
class TableSource:
    """Tables with the same columns, one after the other."""

    tables: tuple[Table, ...]
    columns: Columns
    schema: Schema
    warnings: tuple[str, ...] = ()
    converted: dict[str, str] = field(default_factory=dict)
    """Columns whose numbers were of another type than HugeCTR takes, as `name -> type`; filled while reading."""

    @property
    def rows(self) -> int | None:
        counts = [table.rows for table in self.tables]
        return None if any(count is None for count in counts) else sum(count or 0 for count in counts)

    def pieces(self, size: int) -> Iterator[Rows]:
        """Yield the samples in order, about `size` at a time."""
        for table in self.tables:
            first = 0
            try:
                for piece in table.read(self.columns.all, size):
                    if piece.num_rows:
                        yield from before_damage(partial(self._first_rows, piece, table, first), piece.num_rows)
                    first += piece.num_rows
            except pyarrow().ArrowException as error:
                raise FeedError(f"{table.where}: is damaged behind row {first}: {_first_line(error)}") from error
            except OSError as error:
                raise FeedError(f"{table.where}: cannot be read behind row {first}: {_first_line(error)}") from error
            if table.rows not in (None, first):
                raise FeedError(f"{table.where}: holds {first} rows, and its footer states {table.rows}: it is damaged")

    def _first_rows(self, piece: pa.RecordBatch, table: Table, first: int, count: int) -> Rows:
        return self.rows_of(piece.slice(0, count), table, first)

    def rows_of(self, piece: pa.RecordBatch, table: Table, first: int) -> Rows:
        """Return the samples of one record batch; `first` is the number of its first row, for messages."""
        columns, schema = self.columns, self.schema
        reader = PieceReader(piece, table.kinds, table.where, first, self.converted)
        labels = reader.floats(columns.labels, schema.label_columns) if columns.labels else None
        dense = reader.floats(columns.dense, schema.dense_dim)
        ids = {name: np.asarray(piece.column(name).to_numpy(zero_copy_only=False)) for name in columns.ids}
        return Rows(labels, dense, reader.keys(columns.keys), ids)


def open_parquet(paths: Sequence[Path], schema: Schema, columns: Columns | None) -> TableSource:
    """Parquet files, their columns by `_metadata.json` beside the first, by the caller's word, or by their names.

    Raises FeedError for a file that cannot be read, whose columns do not fit the model or differ between files.
    """
    tables = tuple(_parquet_table(path) for path in paths)
    metadata = read_metadata(paths[0].parent) if columns is None else None
    chosen, warnings = _chosen(tables, schema, columns, metadata)
    warnings += _row_warnings(tables, paths, metadata)
    return table_source(tables, schema, chosen, warnings)


def table_rows(path: str) -> int:
    """Return the number of rows of a Parquet file."""
    import pyarrow.parquet as pq

    return int(pq.read_metadata(path).num_rows)


def table_source(
    tables: Sequence[Table], schema: Schema, columns: Columns | None, warnings: Sequence[str] = ()
) -> TableSource:
    """Tables as a source of samples, checked against the model before the first row is read."""
    first = tables[0]
    chosen = columns or by_name(first.schema.names, _kinds(first.schema), schema)
    for table in tables:
        lengths = _check_table(table, chosen)
        if lengths is not None:
            check_counts(chosen, schema, table.where, lengths)
    return TableSource(tuple(tables), chosen, schema, (*warnings, *chosen.warnings))


def _parquet_table(path: Path) -> Table:
    import pyarrow.parquet as pq

    try:
        file = pq.ParquetFile(path, buffer_size=BUFFER_BYTES, pre_buffer=False)
    except (pyarrow().ArrowException, OSError) as error:
        raise FeedError(f"{path}: is not a whole Parquet file: {_first_line(error)}") from error
    rows, names = file.metadata.num_rows, file.schema_arrow
    file.close()

    def decoded(columns: Sequence[str], size: int) -> Pieces:
        with pq.ParquetFile(path, buffer_size=BUFFER_BYTES, pre_buffer=False) as opened:
            for groups in _runs(opened.metadata, size):
                yield from opened.iter_batches(size, groups, list(columns))

    def read(columns: Sequence[str], size: int) -> Pieces:
        # The next piece is decoded while the columns of this one are checked and put side by side.
        yield from read_ahead(decoded(columns, max(size, _PIECE_ROWS)), 1)

    return Table(str(path), names, rows, read)


def _runs(metadata: Any, rows: int) -> Iterator[list[int]]:
    """Row groups one after the other, small ones together up to so many rows: damage in a group costs no group before it."""
    run: list[int] = []
    held = 0
    for group in range(metadata.num_row_groups):
        count = metadata.row_group(group).num_rows
        if run and held + count > rows:
            yield run
            run, held = [], 0
        run.append(group)
        held += count
    if run:
        yield run


def _chosen(
    tables: Sequence[Table], schema: Schema, columns: Columns | None, metadata: Metadata | None
) -> tuple[Columns | None, list[str]]:
    if columns is not None or metadata is None:
        return columns, []
    return metadata.columns(tables[0].schema.names), []


def _row_warnings(tables: Sequence[Table], paths: Sequence[Path], metadata: Metadata | None) -> list[str]:
    if metadata is None or not metadata.rows:
        return []
    warnings = []
    for table, path in zip(tables, paths, strict=True):
        stated = metadata.rows.get(path.name)
        if stated is None:
            warnings.append(f"{metadata.path}: has no entry for {path.name}, which HugeCTR would refuse")
        elif stated != table.rows:
            warnings.append(f"{metadata.path}: states {stated} rows for {path.name}, which has {table.rows}")
    return warnings


def _kinds(schema: pa.Schema) -> dict[str, str]:
    return {entry.name: _kind(entry.type) for entry in schema}


def _kind(kind: pa.DataType) -> str:
    types = pyarrow().types
    inner = plain(kind.value_type if is_list(kind) else kind)
    if types.is_floating(inner):
        return "float"
    return "integer" if types.is_integer(inner) else "other"


def _check_table(table: Table, columns: Columns) -> Mapping[str, int] | None:
    """Return the lengths of the lists among labels and dense values; None where no row tells them.

    Raises FeedError for a column that is missing or of an unusable type.
    """
    missing = [name for name in columns.all if name not in table.schema.names]
    if missing:
        raise FeedError(
            f"{table.where}: lacks the column {', '.join(map(repr, missing[:4]))}; it has "
            f"{', '.join(table.schema.names[:12])}"
        )
    twice = [name for name in columns.all if table.schema.names.count(name) > 1]
    if twice:
        raise FeedError(f"{table.where}: has several columns with the name {twice[0]!r}; give each a name of its own")
    lengths: dict[str, int] = {}
    for name in (*columns.labels, *columns.dense):
        kind = table.schema.field(name).type
        if _kind(kind) == "other" and not (pyarrow().types.is_boolean(kind) or pyarrow().types.is_null(kind)):
            raise FeedError(f"{table.where}: column {name!r} is {kind}; labels and dense values are numbers")
        if pyarrow().types.is_fixed_size_list(kind):
            lengths[name] = kind.list_size
        elif is_list(kind):
            lengths[name] = _first_length(table, name)
    for name in columns.keys:
        kind = plain(table.schema.field(name).type)
        inner = kind.value_type if is_list(kind) else kind
        # A column without any value, as in a CSV file without rows, has the type null.
        if str(inner) not in (*_KEY_TYPES, "null"):
            raise FeedError(
                f"{table.where}: column {name!r} is {kind}; keys are {', '.join(_KEY_TYPES)} or lists of these "
                "(encode categories as HugeCTR's training data did)"
            )
    return None if _UNKNOWN_LENGTH in lengths.values() else lengths


def _first_length(table: Table, name: str) -> int:
    """Return the length of the first list of a column: all have as many, which the reader checks (formats 4.2)."""
    pieces = table.read([name], 1)
    try:
        with closing(pieces):
            lists = (each for piece in pieces for each in piece.column(0))
            first = next((each for each in lists if each.is_valid), None)
    except (pyarrow().ArrowException, OSError) as error:
        raise FeedError(f"{table.where}: is damaged: {_first_line(error)}") from error
    return _UNKNOWN_LENGTH if first is None else len(first)


def _first_line(error: BaseException) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0][:200]
