"""`Model.embedding_dump`: the tables of an EmbeddingCollection on disk (formats 2.5).

embedding_collection_0/meta_data   int32 T, key type, value type, 0, 0; int32 ids[T]; uint64 counts[T]; int32 widths[T]
embedding_collection_0/key{j}      128 bytes of head (int32: 1, table id, 0...), then keys
embedding_collection_0/weight{j}   128 bytes of head (int32: 2, table id, 0...), then float32 rows
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hugectr2onnx.errors import UnsupportedError, WeightsError
from hugectr2onnx.frontend.graph_json.json_text import StrPath
from hugectr2onnx.frontend.weights.mapped_file import map_file
from hugectr2onnx.frontend.weights.sparse_table import SparseTable, keys_are_unique

DUMP_HEAD_BYTES = 128
FIXED_BYTES = 20
_TABLE_ENTRY_BYTES = 16
DUMP_KEY_TYPES: dict[int, np.dtype[Any]] = {0: np.dtype("<u4"), 1: np.dtype("<i8")}
KEYS, WEIGHTS = 1, 2
BYTE = np.dtype("u1")


@dataclass(frozen=True)
class _Meta:
    """`meta_data`, parsed: table j has `counts[j]` keys and rows of `widths[j]` floats."""

    ids: tuple[int, ...]
    counts: tuple[int, ...]
    widths: tuple[int, ...]
    key_type: np.dtype[Any]


def open_dump(path: StrPath) -> dict[int, SparseTable]:
    """Return the tables of a dump by their id, mapped; `path` is the dump's folder or one `embedding_collection_{c}` in it.

    Raises WeightsError where files are missing, short or of another table, and UnsupportedError for what HugeCTR cannot
    dump soundly: parts of a collection, tables of half precision, several collections.
    """
    folder = _collection_folder(Path(path))
    meta = _read_meta(folder / "meta_data")
    return {id: _open_table(folder, position, meta) for position, id in enumerate(meta.ids)}


def _collection_folder(path: Path) -> Path:
    try:
        if os.path.exists(path / "meta_data"):
            return path
        found = sorted(path.glob("embedding_collection_*"))
    except (OSError, ValueError) as failure:
        raise WeightsError(f"{path}: cannot be read: {failure}") from None
    if not found:
        raise WeightsError(f"{path}: holds no embedding_collection_0/meta_data; give the folder of embedding_dump")
    if len(found) > 1:
        raise UnsupportedError(
            f"{path}: holds {len(found)} collections; HugeCTR deletes the folder before it writes each, so they are not "
            f"of one dump: give one of them, such as {found[0]}"
        )
    return found[0]


def _read_meta(path: Path) -> _Meta:
    data = bytes(map_file(path, BYTE, "the meta data of embedding_dump"))
    if len(data) < FIXED_BYTES + _TABLE_ENTRY_BYTES:
        raise WeightsError(
            f"{path}: has {len(data)} bytes; the meta data of one table has {FIXED_BYTES + _TABLE_ENTRY_BYTES}"
        )
    tables, key_type, value_type = (int(number) for number in np.frombuffer(data, "<i4", 3))
    if tables < 1 or len(data) != FIXED_BYTES + _TABLE_ENTRY_BYTES * tables:
        raise WeightsError(
            f"{path}: has {len(data)} bytes; the {tables} tables that it names take {FIXED_BYTES + _TABLE_ENTRY_BYTES * tables}"
        )
    if key_type not in DUMP_KEY_TYPES:
        raise WeightsError(f"{path}: key type {key_type} is neither 0 (uint32) nor 1 (int64)")
    if value_type != 0:
        raise UnsupportedError(
            f"{path}: value type {value_type} is not float32; HugeCTR computes the offsets of a half-precision dump as if it "
            "were float32, so its rows are not where they should be: dump from a float32 run"
        )
    ids = tuple(np.frombuffer(data, "<i4", tables, FIXED_BYTES).tolist())
    counts = tuple(np.frombuffer(data, "<u8", tables, FIXED_BYTES + 4 * tables).tolist())
    widths = tuple(np.frombuffer(data, "<i4", tables, FIXED_BYTES + 12 * tables).tolist())
    _check_meta(path, ids, widths)
    return _Meta(ids, counts, widths, DUMP_KEY_TYPES[key_type])


def _check_meta(path: Path, ids: tuple[int, ...], widths: tuple[int, ...]) -> None:
    if ids != tuple(range(len(ids))):
        raise UnsupportedError(
            f"{path}: holds the tables {list(ids)}. HugeCTR writes the contents of the first tables whichever are asked for, "
            "so only a dump of all tables can be trusted: call embedding_dump without table names"
        )
    if min(widths) < 1:
        raise WeightsError(f"{path}: a table has rows of {min(widths)} floats")


def _open_table(folder: Path, position: int, meta: _Meta) -> SparseTable:
    width, count = meta.widths[position], meta.counts[position]
    keys = _body(folder / f"key{position}", KEYS, meta.ids[position], count * meta.key_type.itemsize)
    rows = _body(folder / f"weight{position}", WEIGHTS, meta.ids[position], count * width * 4)
    numbers = keys.view(meta.key_type)
    wide = numbers if meta.key_type.itemsize == 8 else numbers.astype(np.int64)
    if not keys_are_unique(wide):
        raise WeightsError(f"{folder / f'key{position}'}: holds keys more than once")
    return SparseTable(folder / f"weight{position}", wide, rows.view("<f4").reshape(count, width))


def _body(path: Path, kind: int, table: int, size: int) -> NDArray[Any]:
    """Return the bytes after the head; raises WeightsError unless the head and the size are those of this table."""
    data = map_file(path, BYTE, "a table of embedding_dump")
    if len(data) != DUMP_HEAD_BYTES + size:
        raise WeightsError(
            f"{path}: has {len(data)} bytes; by meta_data it should have {DUMP_HEAD_BYTES} of head and {size} of contents"
        )
    found = tuple(data[:8].view("<i4").tolist())
    if found != (kind, table):
        raise WeightsError(
            f"{path}: its head says kind {found[0]} of table {found[1]}, expected kind {kind} of {table}"
        )
    return data[DUMP_HEAD_BYTES:]
