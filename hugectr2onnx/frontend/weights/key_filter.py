"""Prune by use: only the rows of keys that somebody asks for; all other keys become keys that the table lacks."""

from __future__ import annotations

import hashlib
import os
import tempfile
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from hugectr2onnx.errors import OutputError, UnsupportedError, WeightsError
from hugectr2onnx.frontend.weights.mapped_file import INT64, file_size, map_file
from hugectr2onnx.frontend.weights.sparse_table import SparseTable
from hugectr2onnx.ir.types import Array
from hugectr2onnx.tables import paging
from hugectr2onnx.tables.npy_file import read_npy
from hugectr2onnx.tables.regular_file import reason
from hugectr2onnx.tables.vectors import vectors_of

COLUMN = "::"
MOST_IN_MEMORY = 256 << 20
KEYS_AT_ONCE = 1 << 24
_FILTERED_BYTES = 8 << 20
FEW = 10
"""Fewer than one in so many of the named keys in the table: they are likely meant for another."""
_ACCEPTED = "give an array, a raw int64 file, an .npy file, FILE.parquet::COLUMN, or a list of files"


def read_all(keep_keys: Mapping[str, object] | None) -> dict[str, Array]:
    """Return the keys to keep by embedding top, or by table of an EmbeddingCollection; none where nothing is given."""
    if keep_keys is None:
        return {}
    if not isinstance(keep_keys, Mapping):
        raise WeightsError(
            f"keep_keys is {type(keep_keys).__name__}, expected {{embedding top or table: keys}}; {_ACCEPTED}"
        )
    return {str(top): read_keys(given, f"keep_keys of {top}") for top, given in keep_keys.items()}


def read_keys(given: object, what: str) -> Array:
    """int64, ascending, each key once.

    Keys are those of the table's own key file: with slot_size_array or OneHot their offsets are added already. Raises
    WeightsError for what holds no integers, UnsupportedError for a Parquet file where pyarrow is not installed.
    """
    known = np.empty(0, np.int64)
    for chunk in _chunks(given, what):
        known = np.union1d(known, _integers(chunk, what))
    return known


def _chunks(given: object, what: str) -> Iterable[Any]:
    if isinstance(given, str | os.PathLike):
        return _from_file(os.fspath(given), what)
    if isinstance(given, Sequence) and given and all(isinstance(each, str | os.PathLike) for each in given):
        return (chunk for path in given for chunk in _from_file(os.fspath(path), what))
    if isinstance(given, np.ndarray | Sequence) and not isinstance(given, bytes | bytearray):
        try:
            return _pieces(np.asarray(given))
        except (ValueError, TypeError, OverflowError) as failure:
            raise WeightsError(f"{what}: is no array of keys: {failure}") from None
    raise WeightsError(f"{what}: is {type(given).__name__}; {_ACCEPTED}")


def _pieces(array: Array) -> Iterator[Array]:
    flat = array.reshape(-1)
    # An empty array must show its type too.
    return (flat[start : start + KEYS_AT_ONCE] for start in range(0, max(len(flat), 1), KEYS_AT_ONCE))


def _integers(chunk: Array, what: str) -> Array:
    if chunk.dtype.kind not in "iu" and chunk.size:
        raise WeightsError(f"{what}: holds {chunk.dtype}, expected integers")
    if chunk.dtype.kind == "u" and chunk.size and int(chunk.max()) > np.iinfo(np.int64).max:
        raise WeightsError(f"{what}: holds {int(chunk.max())}, which is beyond int64")
    return chunk.astype(np.int64, copy=False)


def _from_file(path: str, what: str) -> Iterable[Any]:
    file, separator, column = path.rpartition(COLUMN)
    if separator and file and not os.path.exists(path):
        return _from_parquet(file, column, what)
    if Path(path).suffix == ".parquet":
        raise WeightsError(f"{what}: {path} is a Parquet file: say which column, as {path}{COLUMN}COLUMN")
    if Path(path).suffix == ".npy":
        return _pieces(read_npy(path, WeightsError, what))
    return _pieces(map_file(path, INT64, f"{what}, as int64"))


def _from_parquet(path: str, column: str, what: str) -> Iterator[Any]:
    file_size(path, what)
    try:
        from pyarrow import parquet
    except ImportError:
        raise UnsupportedError(
            f"{what}: reading {path} needs pyarrow, which is not installed: pip install hugectr2onnx[parquet], or write the "
            "column as an .npy file"
        ) from None
    try:
        with parquet.ParquetFile(path) as file:
            names = file.schema_arrow.names
            if column not in names:
                raise WeightsError(f"{what}: {path} has no column {column!r}; it has {', '.join(names)[:300]}")
            for batch in file.iter_batches(columns=[column], batch_size=1 << 20):
                yield _flattened(batch.column(0)).drop_null().to_numpy(zero_copy_only=False)
    except WeightsError:
        raise
    except Exception as failure:
        # pyarrow has a dozen kinds of error for files that are none.
        raise WeightsError(f"{what}: {path} cannot be read: {str(failure)[:300]}") from None


def _flattened(column: Any) -> Any:
    """Slots of several keys are lists."""
    while hasattr(column, "flatten") and hasattr(column.type, "value_type"):
        column = column.flatten()
    return column


def digest(wanted: Array) -> str:
    """Tell what tells one set of keys from another."""
    return f"{len(wanted)} keys, sha256 {hashlib.sha256(np.ascontiguousarray(wanted, INT64).data).hexdigest()[:16]}"


def keep(table: SparseTable, wanted: Array) -> SparseTable:
    """Return the table without the rows that nobody asks for, in the order of the file."""
    rows = _rows_of(table.keys, wanted)
    if len(rows) == len(table.keys):
        return table
    slots = None if table.slot_ids is None else np.asarray(table.slot_ids)[rows]
    vectors = vectors_of(_selected(table.vectors, rows))
    vectors.dropped = len(table.keys) - len(rows)
    return replace(table, keys=np.asarray(table.keys)[rows], vectors=vectors, slot_ids=slots)


def few_kept(table: SparseTable, kept: SparseTable, wanted: Array) -> str | None:
    """Tell what to warn of where hardly any row was asked for."""
    if not len(table.keys) or len(kept.keys) * FEW >= max(len(wanted), 1):
        return None
    asked = f"{len(wanted):,} keys, of which {len(kept.keys) or 'none'}" if len(wanted) else "no keys, so none"
    return (
        f"keep_keys names {asked} stand in the table of {len(table.keys):,} rows. They must be those of its key file: with "
        "slot_size_array or OneHot, the sum of the sizes before a slot is added already"
    )


def _rows_of(keys: Array, wanted: Array) -> Array:
    """Return the rows whose key is wanted, ascending."""
    kept = np.zeros(len(keys), np.bool_)
    start = 0
    for chunk in paging.chunks(np.asarray(keys)) if len(wanted) else ():
        at = np.minimum(np.searchsorted(wanted, chunk), len(wanted) - 1)
        kept[start : start + len(chunk)] = wanted[at] == chunk
        start += len(chunk)
    return np.flatnonzero(kept)


def _selected(vectors: Array, rows: Array) -> Array:
    """Return some rows, read in the order of the file; above 256 MB they are mapped from a file that nobody else sees."""
    row_bytes = vectors.dtype.itemsize * vectors.shape[1]
    if len(rows) * row_bytes <= MOST_IN_MEMORY:
        found = np.empty((len(rows), vectors.shape[1]), np.float32)
        at = 0
        for chunk in _gathered(vectors, rows, row_bytes):
            found[at : at + len(chunk)] = chunk
            at += len(chunk)
        return found
    try:
        with tempfile.TemporaryFile(prefix="hugectr2onnx-") as file:
            for chunk in _gathered(vectors, rows, row_bytes):
                file.write(np.ascontiguousarray(chunk).data)
            file.flush()
            return np.memmap(file, np.float32, "r", shape=(len(rows), vectors.shape[1]))
    except OSError as failure:
        raise OutputError(
            f"cannot gather the rows that are kept in {tempfile.gettempdir()}: {reason(failure)}; set TMPDIR to a folder "
            f"with {len(rows) * row_bytes:,} bytes of room"
        ) from failure


def _gathered(vectors: Array, rows: Array, row_bytes: int) -> Iterator[Array]:
    pages, step = paging.Pages(vectors), max(1, _FILTERED_BYTES // row_bytes)
    source = np.asarray(vectors)
    for start in range(0, len(rows), step):
        yield source[rows[start : start + step]]
        pages.release()
