"""Parquet and other tables with named columns, read by pyarrow in pieces, as HugeCTR's Parquet reader takes them.

(formats 4.2)
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from hugectr2onnx.datasets.columns import Columns, by_name, check_counts
from hugectr2onnx.datasets.metadata import Metadata, read_metadata
from hugectr2onnx.datasets.rows import KeyColumns, Lists, Rows
from hugectr2onnx.datasets.schema import Schema
from hugectr2onnx.errors import FeedError, UnsupportedError
from hugectr2onnx.ir.types import Array

if TYPE_CHECKING:
    import pyarrow as pa

BUFFER_BYTES = 1 << 20
KEY_TYPES = ("int32", "uint32", "int64", "uint64")


def pyarrow() -> Any:
    """The pyarrow module. Raises UnsupportedError where it is not installed."""
    try:
        import pyarrow as module
    except ImportError:
        raise UnsupportedError(
            "reading Parquet, Arrow and CSV needs pyarrow: pip install 'hugectr2onnx[parquet]'"
        ) from None
    return module


Pieces = Iterator["pa.RecordBatch"]


@dataclass(frozen=True)
class Table:
    """One file, or one table in memory: `names` and `kinds` of its columns and a function that reads some of them."""

    where: str
    schema: pa.Schema
    rows: int | None
    read: Callable[[Sequence[str], int], Pieces]


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
        """The samples in order, about `size` at a time."""
        for table in self.tables:
            first = 0
            try:
                for piece in table.read(self.columns.all, size):
                    if piece.num_rows:
                        yield self.rows_of(piece, table, first)
                    first += piece.num_rows
            except pyarrow().ArrowException as error:
                raise FeedError(f"{table.where}: is damaged behind row {first}: {_first_line(error)}") from error
            except OSError as error:
                raise FeedError(f"{table.where}: cannot be read behind row {first}: {_first_line(error)}") from error

    def rows_of(self, piece: pa.RecordBatch, table: Table, first: int) -> Rows:
        """The samples of one record batch; `first` is the number of its first row, for messages."""
        columns, schema = self.columns, self.schema
        reader = _PieceReader(piece, table.where, first, self.converted)
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
    """The number of rows of a Parquet file."""
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

    def read(columns: Sequence[str], size: int) -> Pieces:
        # use_threads: two decoding threads beside the session cost more than they give on two cores.
        with pq.ParquetFile(path, buffer_size=BUFFER_BYTES, pre_buffer=False) as opened:
            yield from opened.iter_batches(batch_size=size, columns=list(columns), use_threads=False)

    return Table(str(path), names, rows, read)


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
    inner = kind.value_type if _is_list(kind) else kind
    if types.is_floating(inner):
        return "float"
    return "integer" if types.is_integer(inner) else "other"


def _is_list(kind: pa.DataType) -> bool:
    types = pyarrow().types
    return bool(types.is_list(kind) or types.is_large_list(kind) or types.is_fixed_size_list(kind))


def _check_table(table: Table, columns: Columns) -> Mapping[str, int]:
    """The lengths of fixed-size list columns. Raises FeedError for a column that is missing or of an unusable type."""
    missing = [name for name in columns.all if name not in table.schema.names]
    if missing:
        raise FeedError(
            f"{table.where}: lacks the column {', '.join(map(repr, missing[:4]))}; it has "
            f"{', '.join(table.schema.names[:12])}"
        )
    lengths: dict[str, int] = {}
    for name in (*columns.labels, *columns.dense):
        kind = table.schema.field(name).type
        if _kind(kind) == "other" and not pyarrow().types.is_boolean(kind):
            raise FeedError(f"{table.where}: column {name!r} is {kind}; labels and dense values are numbers")
        if pyarrow().types.is_fixed_size_list(kind):
            lengths[name] = kind.list_size
    for name in columns.keys:
        kind = table.schema.field(name).type
        inner = kind.value_type if _is_list(kind) else kind
        if str(inner) not in KEY_TYPES:
            raise FeedError(
                f"{table.where}: column {name!r} is {kind}; keys are {', '.join(KEY_TYPES)} or lists of these "
                "(encode categories as HugeCTR's training data did)"
            )
    return lengths


@dataclass(frozen=True)
class _PieceReader:
    """Columns of one record batch as arrays; errors name the file, the column and the row."""

    piece: pa.RecordBatch
    where: str
    first: int
    converted: dict[str, str]

    @cached_property
    def columns(self) -> Mapping[str, Any]:
        return dict(zip(self.piece.schema.names, self.piece.columns, strict=True))

    def floats(self, names: Sequence[str], width: int) -> Array:
        """float32 [n, width]; a list column of a fixed length fills as many columns (formats 4.2)."""
        out = np.empty((self.piece.num_rows, width), np.float32)
        at = 0
        with np.errstate(over="ignore"):
            for name in names:
                values = self._numbers(name)
                take = values.shape[1] if values.ndim == 2 else 1
                if at + take > width:
                    raise FeedError(f"{self.where}: column {name!r} has lists of {take} values, too many for the model")
                if values.ndim == 2:
                    out[:, at : at + take] = values
                else:
                    out[:, at] = values
                at += take
        if at != width:
            raise FeedError(f"{self.where}: its lists give {at} columns where the model takes {width}")
        self._refuse_nan(out, names)
        return out

    def keys(self, names: Sequence[str]) -> KeyColumns | tuple[Lists, ...]:
        """The columns where each holds one key a row, else the lists of each slot."""
        arrays = [self._whole(name) for name in names]
        if any(_is_list(array.type) for array in arrays):
            return tuple(self._lists(name, array) for name, array in zip(names, arrays, strict=True))
        return KeyColumns(tuple(_signed(array.to_numpy(zero_copy_only=True)) for array in arrays))

    def _lists(self, name: str, array: Any) -> Lists:
        if not _is_list(array.type):
            return Lists(_as_int64(array.to_numpy()), np.arange(len(array) + 1))
        values = array.flatten()
        if values.null_count:
            row = self.first + next(i for i, each in enumerate(array) if None in each.as_py())
            raise FeedError(f"{self.where}: column {name!r} has a null among the keys of row {row}")
        if pyarrow().types.is_fixed_size_list(array.type):
            offsets = np.arange(len(array) + 1) * array.type.list_size
        else:
            offsets = array.offsets.to_numpy().astype(np.int64)
            offsets = offsets - offsets[0]
        return Lists(_as_int64(values.to_numpy()), offsets)

    def _numbers(self, name: str) -> Array:
        array = self._whole(name)
        if _is_list(array.type):
            return self._fixed_lists(name, array)
        if str(array.type) != "float":
            self.converted.setdefault(name, str(array.type))
        values: Array = array.to_numpy(zero_copy_only=False)
        return values

    def _fixed_lists(self, name: str, array: Any) -> Array:
        values = array.flatten()
        length, odd = divmod(len(values), max(1, len(array)))
        if not pyarrow().types.is_fixed_size_list(array.type):
            lengths = np.diff(array.offsets.to_numpy())
            if odd or (lengths != length).any():
                row = self.first + int(np.argmax(lengths != lengths[0]))
                raise FeedError(f"{self.where}: column {name!r} has lists of several lengths, the first at row {row}")
        if values.null_count:
            raise FeedError(f"{self.where}: column {name!r} has a null in a list, behind row {self.first}")
        numbers: Array = values.to_numpy(zero_copy_only=False).reshape(len(array), length)
        return numbers

    def _whole(self, name: str) -> Any:
        """A column; FeedError where it has a null."""
        array = self.columns[name]
        if array.null_count:
            row = self.first + int(np.argmax(array.is_null().to_numpy(zero_copy_only=False)))
            raise FeedError(f"{self.where}: column {name!r} has a null at row {row}")
        return array

    def _refuse_nan(self, values: Array, names: Sequence[str]) -> None:
        # The sum of a column with NaN is NaN: one pass, no array of flags.
        if not np.isnan(values.sum()):
            return
        for name in names:
            column = self._numbers(name)
            bad = np.isnan(column.astype(np.float64)).reshape(len(column), -1).any(1)
            if bad.any():
                raise FeedError(f"{self.where}: column {name!r} has NaN at row {self.first + int(np.argmax(bad))}")


def _signed(values: Array) -> Array:
    """Keys as numbers of at most 64 bits with a sign: uint64 by its bits, as HugeCTR's own files hold them."""
    return values.view(np.int64) if values.dtype == np.uint64 else values


def _as_int64(values: Array) -> Array:
    return _signed(values).astype(np.int64, copy=False)


def _first_line(error: BaseException) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0][:200]
