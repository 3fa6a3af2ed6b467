"""Rows in Parquet: one file a table, in the order of the keys, for other stores to load and for tables of moderate size.

Columns: `key` int64, `vector` a list of `width` numbers in the table's row format, and `scale` float32 where the format has
one. A look-up reads the row groups, 1 MB each, whose keys span those that are asked for.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path
from threading import Lock
from typing import Any

import numpy as np

from hugectr2onnx.errors import StoreError, UnsupportedError
from hugectr2onnx.stores.record import TableRecord, VersionRecord
from hugectr2onnx.stores.row_cache import Row
from hugectr2onnx.stores.table_rows import TableRows
from hugectr2onnx.tables.array import Array

GROUP_BYTES = 1 << 20
VERSION_MARK = b"hugectr2onnx.version"


class ParquetFiles:
    """`file_store.RowFiles` of Parquet."""

    def writer(self, place: Path, version: str) -> ParquetRowWriter:
        return ParquetRowWriter(place, version)

    def reader(self, place: Path, record: VersionRecord) -> ParquetRowReader:
        return ParquetRowReader(place, record)


class ParquetRowWriter:
    def __init__(self, place: Path, version: str) -> None:
        self._place = place
        self._version = version
        self._tables: list[str] = []

    def write(self, table: TableRows) -> None:
        import pyarrow.parquet as pq

        record = table.record
        name = f"{len(self._tables)}-{re.sub('[^A-Za-z0-9_]+', '_', record.name)[:60]}.parquet"
        schema = _schema(record).with_metadata({VERSION_MARK: self._version.encode()})
        group = max(64, GROUP_BYTES // record.row_bytes)
        with pq.ParquetWriter(
            self._place / name, schema, compression="none", use_dictionary=False, write_statistics=["key"]
        ) as file:
            for keys, stored in table.sorted_chunks():
                file.write_table(_arrow(record, keys, stored, schema), row_group_size=group)
        self._tables.append(name)

    def facts(self) -> Mapping[str, Any]:
        return {"kind": "parquet", "files": self._tables}

    def finish(self, record: VersionRecord) -> None:
        ParquetRowReader(self._place, record).close()


class ParquetRowReader:
    """One version; opening it reads the end of each file."""

    def __init__(self, place: Path, record: VersionRecord) -> None:
        self.record = record
        names = record.store.get("files")
        if not isinstance(names, list) or len(names) != len(record.tables):
            raise StoreError(f"{place}: the record does not name a Parquet file for each table")
        pairs = zip(record.tables, names, strict=True)
        self._files = {
            table.name: _TableFile(place / Path(str(name)).name, table, record.version) for table, name in pairs
        }

    def fetch(self, table: TableRecord, keys: Array) -> Sequence[Row]:
        return self._files[table.name].fetch(keys)

    def close(self) -> None:
        for file in self._files.values():
            file.close()


class _TableFile:
    def __init__(self, path: Path, table: TableRecord, version: str) -> None:
        self._path = path
        self._table = table
        self._lock = Lock()
        pq = parquet()
        try:
            self._file = pq.ParquetFile(path)
        except Exception as error:
            raise StoreError(f"{path} cannot be read as Parquet: {' '.join(str(error).split())[:200]}") from error
        self._check(version)
        groups = [self._file.metadata.row_group(n).column(0).statistics for n in range(self._file.num_row_groups)]
        self._lows = np.array([group.min for group in groups], np.int64)
        self._highs = np.array([group.max for group in groups], np.int64)

    def _check(self, version: str) -> None:
        schema, table = self._file.schema_arrow, self._table
        if schema.remove_metadata() != _schema(table):
            found = ", ".join(f"{field.name} {field.type}" for field in schema)
            raise StoreError(
                f"{self._path} has the columns {found}, not {table.width} {table.row_format} numbers a row"
            )
        mark = (schema.metadata or {}).get(VERSION_MARK, b"").decode(errors="replace")
        if mark != version:
            raise StoreError(f"{self._path} is of version {mark or 'none'}, not of {version}: it was moved or replaced")
        if self._file.metadata.num_rows != table.rows:
            raise StoreError(f"{self._path} has {self._file.metadata.num_rows:,} rows, and {table.rows:,} were written")

    def fetch(self, keys: Array) -> Sequence[Row]:
        found: list[Row] = [None] * len(keys)
        if not len(self._lows):
            return found
        groups = np.maximum(np.searchsorted(self._lows, keys, side="right") - 1, 0)
        inside = (keys >= self._lows[groups]) & (keys <= self._highs[groups])
        for group in np.unique(groups[inside]).tolist():
            places = np.flatnonzero(inside & (groups == group))
            known, stored = self._read(group)
            at = np.minimum(np.searchsorted(known, keys[places]), len(known) - 1)
            for place, row in zip(places[known[at] == keys[places]], at[known[at] == keys[places]], strict=True):
                found[place] = stored[row].tobytes()
        return found

    def _read(self, group: int) -> tuple[Array, Array]:
        with self._lock:
            try:
                read = self._file.read_row_group(group).combine_chunks()
            except Exception as error:
                raise StoreError(f"{self._path}: row group {group} cannot be read: {error}") from error
        parts = [_numbers(read["vector"])]
        if "scale" in read.column_names:
            parts.append(read["scale"].to_numpy())
        rows = [np.ascontiguousarray(part).reshape(len(read), -1).view(np.uint8) for part in parts]
        return read["key"].to_numpy(), np.hstack(rows)

    def close(self) -> None:
        self._file.close()


def _numbers(column: Any) -> Array:
    flat: Array = column.combine_chunks().flatten().to_numpy(zero_copy_only=False)
    return flat


@cache
def parquet() -> Any:
    """Return the pyarrow.parquet module. Raises UnsupportedError where it is not installed."""
    try:
        import pyarrow.parquet as module
    except ImportError as error:
        raise UnsupportedError("the Parquet store needs pyarrow: pip install 'hugectr2onnx[parquet]'") from error
    return module


def _schema(table: TableRecord) -> Any:
    pa = _arrow_module()
    number = pa.from_numpy_dtype(table.format.dtype)
    fields = [
        pa.field("key", pa.int64(), nullable=False),
        pa.field("vector", pa.list_(pa.field("element", number, nullable=False), table.width), nullable=False),
    ]
    if table.format.has_scales:
        fields.append(pa.field("scale", pa.float32(), nullable=False))
    return pa.schema(fields)


def _arrow(table: TableRecord, keys: Array, stored: Array, schema: Any) -> Any:
    pa = _arrow_module()
    end = table.format.dtype.itemsize * table.width
    numbers = pa.array(np.ascontiguousarray(stored[:, :end]).view(table.format.dtype).reshape(-1))
    columns = [pa.array(keys), pa.FixedSizeListArray.from_arrays(numbers, type=schema.field("vector").type)]
    if table.format.has_scales:
        columns.append(pa.array(np.ascontiguousarray(stored[:, end:]).view("<f4").reshape(-1)))
    return pa.Table.from_arrays(columns, schema=schema)


def _arrow_module() -> Any:
    parquet()
    import pyarrow

    return pyarrow
