"""Rows in RocksDB: one database a version, which is never written again once it is complete.

The key of a row is the number of its table (2 bytes) and its key (8 bytes, the sign turned, so that rows lie in the order of
their keys), big-endian both. The number of a table alone is the key of its count of rows.
"""

from __future__ import annotations

import struct
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from hugectr2onnx.errors import StoreError, UnsupportedError
from hugectr2onnx.stores.record import TableRecord, VersionRecord
from hugectr2onnx.stores.row_cache import Row
from hugectr2onnx.stores.table_rows import TableRows
from hugectr2onnx.tables.array import Array

FOLDER = "rows.rocksdb"
_NUMBER = struct.Struct(">H")
_COUNT = struct.Struct(">Q")
_SIGN = np.uint64(1 << 63)
BLOOM_BITS = 10
WRITE_BUFFER_BYTES = 32 << 20


class RocksDbFiles:
    """`file_store.RowFiles` of RocksDB."""

    def writer(self, place: Path, version: str) -> RocksDbWriter:
        return RocksDbWriter(place, version)

    def reader(self, place: Path, record: VersionRecord) -> RocksDbReader:
        return RocksDbReader(place, record)


class RocksDbWriter:
    def __init__(self, place: Path, version: str) -> None:
        self._place = place
        self._module = rocksdict()
        options = _options(self._module)
        options.create_if_missing(True)
        options.set_error_if_exists(True)
        options.set_write_buffer_size(WRITE_BUFFER_BYTES)
        self._database = self._module.Rdict(str(place / FOLDER), options)
        write = self._module.WriteOptions()
        # A crash leaves no version at all, so nothing has to be logged.
        write.disable_wal = True
        self._database.set_write_options(write)
        self._database.put(b"version", version.encode())
        self._count = 0

    def write(self, table: TableRows) -> None:
        number = self._count
        self._count += 1
        rows = 0
        for keys, stored in table.chunks():
            batch = self._module.WriteBatch(raw_mode=True)
            for key, row in zip(_row_keys(number, keys), _pieces(stored), strict=True):
                batch.put(key, row)
            self._database.write(batch)
            rows += len(keys)
        self._database.put(_NUMBER.pack(number), _COUNT.pack(rows))

    def facts(self) -> Mapping[str, Any]:
        return {"kind": "rocksdb"}

    def finish(self, record: VersionRecord) -> None:
        self._database.flush()
        # Files that overlap must all be asked for a key; in one order, a look-up takes half the time.
        self._database.compact_range(None, None)
        self._database.close()
        RocksDbReader(self._place, record).close()


class RocksDbReader:
    """One version, open for reading only: any number of processes may have it open."""

    def __init__(self, place: Path, record: VersionRecord) -> None:
        self.record = record
        self._path = place / FOLDER
        self._numbers = {table.name: number for number, table in enumerate(record.tables)}
        module = rocksdict()
        try:
            self._database = module.Rdict(str(self._path), _options(module), access_type=module.AccessType.read_only())
        except Exception as error:
            raise StoreError(f"{self._path} cannot be opened as RocksDB: {_plain(error)}") from error
        try:
            self._check()
        except BaseException:
            self._database.close()
            raise

    def _check(self) -> None:
        mark = self._get([b"version"])[0]
        if mark != self.record.version.encode():
            known = "none" if mark is None else mark[:64].decode(errors="replace")
            raise StoreError(
                f"{self._path} is of version {known}, not of {self.record.version}: it was moved or replaced"
            )
        counts = self._get([_NUMBER.pack(number) for number in self._numbers.values()])
        for table, count in zip(self.record.tables, counts, strict=True):
            if count is None or len(count) != _COUNT.size or _COUNT.unpack(count)[0] != table.rows:
                raise StoreError(f"{self._path} does not have the {table.rows:,} rows of table {table.name}")

    def fetch(self, table: TableRecord, keys: Array) -> Sequence[Row]:
        return self._get(_row_keys(self._numbers[table.name], keys))

    def _get(self, keys: list[bytes]) -> list[Row]:
        try:
            return list(self._database[keys]) if keys else []
        except Exception as error:
            raise StoreError(f"{self._path} cannot be read: {_plain(error)}") from error

    def close(self) -> None:
        self._database.close()


def _row_keys(number: int, keys: Array) -> list[bytes]:
    whole = np.empty((len(keys), 10), np.uint8)
    whole[:, :2] = np.frombuffer(_NUMBER.pack(number), np.uint8)
    whole[:, 2:] = (keys.astype(np.int64).view(np.uint64) ^ _SIGN).astype(">u8").view(np.uint8).reshape(-1, 8)
    return _pieces(whole)


def _pieces(rows: Array) -> list[bytes]:
    """Return the bytes of each row."""
    data, size = np.ascontiguousarray(rows).tobytes(), rows.shape[1]
    return [data[start : start + size] for start in range(0, len(data), size)]


def rocksdict() -> Any:
    """Return the rocksdict module. Raises UnsupportedError where it is not installed."""
    try:
        import rocksdict as module
    except ImportError as error:
        raise UnsupportedError("the RocksDB store needs rocksdict: pip install 'hugectr2onnx[rocksdb]'") from error
    return module


def _options(module: Any) -> Any:
    options = module.Options(raw_mode=True)
    # All files stay open, so that a version can be read to its end while somebody removes it.
    options.set_max_open_files(-1)
    # Trained numbers hardly shrink, and every look-up would unpack a block.
    options.set_compression_type(module.DBCompressionType.none())
    blocks = module.BlockBasedOptions()
    blocks.set_bloom_filter(BLOOM_BITS, False)
    options.set_block_based_table_factory(blocks)
    return options


def _plain(error: Exception) -> str:
    return " ".join(str(error).split())[:300]
