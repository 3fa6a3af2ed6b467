"""Key maps on disk for models whose inputs are rows: `KeyFile` writes one, `KeyMapper` answers from it.

8 bytes     b"h2okeys3"
8 bytes     number of bytes before the keys, a multiple of 4096, int64 little-endian
            JSON: rows of the table, keys in the map, what each slot adds to its keys, a padding key; padded with spaces
8 n bytes   the keys (without a padding key those of 0 and more), ascending, int64 little-endian
8 n bytes   the row of each
8 bytes     CRC-32 of the 16 n bytes before, int64 little-endian
"""

from __future__ import annotations

import json
import os
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

from hugectr2onnx.errors import FeedError
from hugectr2onnx.tables import paging
from hugectr2onnx.tables.key_index import MAX_KEY, MIN_KEY, column
from hugectr2onnx.tables.regular_file import open_regular, shown

KEY_FILE_MAGIC = b"h2okeys3"
_OLDER = (b"h2okeys1", b"h2okeys2")
_PAGE = 4096
MAX_HEAD = 64 << 20
_INT64 = np.dtype("<i8")
SUFFIX = ".keys"
KEYS_METADATA = "hugectr2onnx.keys."
"""With the name of an input: the metadata key under which a model names its key map."""
_KEYS_AT_ONCE = 1 << 19
MAX_COPIED = 192 << 20
"""Bytes of keys up to which they are copied before they are sorted, so that nobody can cut them short."""
_WHAT = "a key map of hugectr2onnx"
_ESCAPES = {ord(sign): f"%{ord(sign):02X}" for sign in "%/\\"}
"""What no file name may hold, and the sign that begins an escape."""


@dataclass(frozen=True, eq=False)
class KeyFile:
    """The keys of one table, for the model input that takes its rows."""

    input: str
    table: str
    keys: NDArray[Any]
    offsets: tuple[int, ...] = ()
    padding_key: int | None = None
    """The one key that is padding; None: any negative key."""

    @property
    def suffix(self) -> str:
        """What follows the id in the name of its file: `a/b` becomes `a%2Fb`, so that no two inputs share a file."""
        return f".{self.input.translate(_ESCAPES)}{SUFFIX}"

    @cached_property
    def head(self) -> bytes:
        """What stands before the keys, whole pages of it."""
        facts: dict[str, Any] = {"input": self.input, "table": self.table, "rows": len(self.keys), "keys": self._count}
        if self.padding_key is not None:
            facts["padding_key"] = self.padding_key
        text = json.dumps({**facts, "offsets": list(self.offsets)}).encode()
        size = -(-(2 * _INT64.itemsize + len(text)) // _PAGE) * _PAGE
        return (KEY_FILE_MAGIC + _int64(size) + text).ljust(size)

    @property
    def size(self) -> int:
        """The bytes of the file."""
        return len(self.head) + 2 * _INT64.itemsize * self._count + _INT64.itemsize

    @cached_property
    def _count(self) -> int:
        return column(self.keys).count

    def pieces(self) -> Iterator[bytes]:
        """Yield the bytes of the file, front to back."""
        yield self.head
        keys = paging.copied(np.asarray(self.keys)) if self.keys.nbytes <= MAX_COPIED else np.asarray(self.keys)
        order = np.argsort(keys, kind="stable")[len(keys) - self._count :]
        checksum = 0
        for column_of in (lambda some: keys[some], lambda some: some):
            for start in range(0, len(order), _KEYS_AT_ONCE):
                piece = column_of(order[start : start + _KEYS_AT_ONCE]).astype(_INT64).tobytes()
                checksum = zlib.crc32(piece, checksum)
                yield piece
        yield _int64(checksum)


def _int64(number: int) -> bytes:
    return number.to_bytes(_INT64.itemsize, "little")


@dataclass(frozen=True)
class _Head:
    """The head of a key map's file, and the place where its keys begin."""

    input: str
    rows: int
    count: int
    offsets: tuple[int, ...]
    size: int
    padding_key: int | None = None

    @staticmethod
    def read(file: BinaryIO) -> _Head:
        """Raises ValueError for a file that is not a key map."""
        start = file.read(2 * _INT64.itemsize)
        if start.startswith(_OLDER):
            raise ValueError("it was written by an older version; save the model again")
        size = int.from_bytes(start[len(KEY_FILE_MAGIC) :], "little")
        if not start.startswith(KEY_FILE_MAGIC) or not _PAGE <= size <= MAX_HEAD:
            raise ValueError("it begins otherwise")
        facts = json.loads(file.read(size - len(start)))
        if not isinstance(facts, dict) or not isinstance(facts.get("input"), str):
            raise ValueError("its head is damaged")
        rows, count, *offsets = (
            _natural(each) for each in (facts.get("rows"), facts.get("keys"), *_list(facts.get("offsets")))
        )
        return _Head(facts["input"], rows, count, tuple(offsets), size, _key(facts.get("padding_key")))


def _list(value: object) -> list[object]:
    if not isinstance(value, list):
        raise ValueError("its head is damaged")
    return value


def _key(value: object) -> int | None:
    if value is None or (isinstance(value, int) and not isinstance(value, bool) and MIN_KEY <= value <= MAX_KEY):
        return value
    raise ValueError(f"its head holds {shown(value)} for a key")


def _natural(value: object) -> int:
    if not isinstance(value, int) or isinstance(value, bool) or not 0 <= value <= MAX_KEY:
        raise ValueError(f"its head holds {shown(value)} for a number of 0 or more")
    return value


class KeyMapper:
    """From keys to the rows that a model with `keys="indices"` takes; the map stays on disk, mapped.

    mapper = KeyMapper.open("wdl.onnx", "data1")
    session.run(None, {"dense": x, "data1": mapper.rows(keys)})
    """

    def __init__(
        self,
        keys: NDArray[Any],
        rows: NDArray[Any],
        missing: int,
        offsets: tuple[int, ...],
        input: str,
        padding_key: int | None = None,
    ):
        self._keys, self._rows, self._missing, self._offsets = keys, rows, missing, offsets
        self._padding_key = padding_key
        self.input = input
        """The model input that takes the rows."""

    @classmethod
    def open(cls, path: str | os.PathLike[str], input: str | None = None) -> KeyMapper:
        """Map the file of a model's input that `CompiledModel.save` wrote, given the model or the file itself.

        The whole file is read once: keys have to ascend, rows to lie in the table, and the checksum to be right. Raises
        FeedError otherwise, and for anything that is not a key map.
        """
        file_path = _map_of(path, input)
        with open_regular(file_path, FeedError, _WHAT) as file:
            try:
                head = _Head.read(file)
                both = _columns(file, head)
                _check(both, head, int.from_bytes(_end(file), "little"))
            except OSError as error:
                raise FeedError(f"{shown(file_path)}: cannot be read: {error.strerror}; expected {_WHAT}") from error
            except (ValueError, TypeError, RecursionError, OverflowError) as error:
                raise FeedError(f"{shown(file_path)}: is not {_WHAT}: {error}") from error
        return cls(both[0], both[1], head.rows, head.offsets, head.input, head.padding_key)

    def __len__(self) -> int:
        return len(self._keys)

    @property
    def keys(self) -> NDArray[Any]:
        """The keys of the table, ascending; offsets of slots are in them."""
        return self._keys

    @property
    def missing(self) -> int:
        """The row that stands for a key which the table lacks."""
        return self._missing

    def rows(self, keys: Any, offsets: Any = None) -> NDArray[np.int64]:
        """Return each key's row, int64 of the same shape: -1 for padding (negative keys, or the one padding key), the table's
        length for a key that it lacks. Where slots add offsets, keys are [..., slot, nnz]; or [K] of a model with
        `interface="csr"`, whose second input `offsets` [N * slots + 1] tells which keys are those of each slot."""
        wanted = np.asarray(keys)
        if wanted.dtype.kind not in "iu" or wanted.dtype == np.uint64:
            raise FeedError(f"keys are {wanted.dtype}; the map takes signed integers")
        asked = wanted.astype(np.int64, copy=False)
        padding = asked < 0 if self._padding_key is None else asked == self._padding_key
        return np.where(padding, -1, self.table_rows(self._moved(asked, offsets)))

    def table_rows(self, keys: NDArray[Any]) -> NDArray[np.int64]:
        """Return the row of each key of the table, int64 of the same shape, `missing` for others: no offsets, no padding."""
        if not len(self._keys):
            return np.full(keys.shape, self._missing, np.int64)
        at = np.minimum(np.searchsorted(self._keys, keys), len(self._keys) - 1)
        found: NDArray[np.int64] = np.where(self._keys[at] == keys, self._rows[at], self._missing)
        return found

    def _moved(self, keys: NDArray[Any], starts: Any) -> NDArray[Any]:
        if not self._offsets:
            return keys
        if starts is not None:
            offsets = self._offset_of_each(keys, np.asarray(starts))
        elif keys.ndim < 2 or keys.shape[-2] != len(self._offsets):
            raise FeedError(f"keys are {list(keys.shape)}; the map wants [..., {len(self._offsets)} slots, max_nnz]")
        else:
            offsets = np.array(self._offsets, np.int64)[:, None]
        moved = np.minimum(keys, MAX_KEY - offsets) + offsets
        return moved if self._padding_key is not None else np.where(keys < 0, keys, moved)

    def _offset_of_each(self, keys: NDArray[Any], starts: NDArray[Any]) -> NDArray[Any]:
        """Return what the slot of each key [K] adds to it, by where the keys of each slot begin."""
        counts, slots = np.diff(starts), len(self._offsets)
        if keys.ndim != 1 or starts.ndim != 1 or len(counts) % slots or (counts < 0).any() or counts.sum() != len(keys):
            raise FeedError(
                f"keys are {list(keys.shape)} and offsets {list(starts.shape)}; the map wants [K] keys and offsets "
                f"[N * {slots} + 1] from 0 to K"
            )
        return np.repeat(np.tile(np.array(self._offsets, np.int64), len(counts) // slots), counts)


def _map_of(path: str | os.PathLike[str], input: str | None) -> str | os.PathLike[str]:
    """Return the key map of a model's input; a file that is not a model is taken for the map itself."""
    with open_regular(path, FeedError, _WHAT) as file:
        if file.read(1) != b"\x08":
            return path
    from hugectr2onnx.backend.onnx.onnx_file import read_model

    metadata = {entry.key: entry.value for entry in read_model(path).metadata_props}
    maps = {key.removeprefix(KEYS_METADATA): name for key, name in metadata.items() if key.startswith(KEYS_METADATA)}
    if input is None and len(maps) == 1:
        input = next(iter(maps))
    if input not in maps:
        known = ", ".join(map(shown, maps)) or "no input"
        raise FeedError(f"{shown(path)}: has key maps for {known}, not for {shown(input)}: give one of them as `input`")
    name = maps[input]
    if Path(name).name != name:
        raise FeedError(f"{shown(path)}: the key map {shown(name)} lies outside the model's own folder")
    return Path(os.path.realpath(path)).with_name(name)


def _columns(file: BinaryIO, head: _Head) -> NDArray[Any]:
    """Return keys and rows, [2, n], mapped."""
    size, found = head.size + 2 * _INT64.itemsize * head.count + _INT64.itemsize, os.fstat(file.fileno()).st_size
    if size != found:
        raise ValueError(f"it has {found:,} bytes instead of {size:,}; save the model again")
    return np.memmap(file, _INT64, "r", head.size, (2, head.count)) if head.count else np.empty((2, 0), _INT64)


def _end(file: BinaryIO) -> bytes:
    file.seek(-_INT64.itemsize, os.SEEK_END)
    return file.read()


def _check(both: NDArray[Any], head: _Head, checksum: int) -> None:
    """Raise ValueError where a look-up could answer with a wrong row."""
    found, last = 0, MIN_KEY - 1 if head.padding_key is not None else -1
    for chunk in paging.chunks(both[0]):
        if int(chunk[0]) <= last or not bool(np.all(chunk[1:] > chunk[:-1])):
            raise ValueError("its keys do not ascend; save the model again")
        last, found = int(chunk[-1]), zlib.crc32(chunk.view(np.uint8).data, found)
    for chunk in paging.chunks(both[1]):
        if int(chunk.min()) < 0 or int(chunk.max()) >= head.rows:
            raise ValueError(f"it names rows outside of the table, which has {head.rows:,}; save the model again")
        found = zlib.crc32(chunk.view(np.uint8).data, found)
    if found != checksum:
        raise ValueError("its checksum is wrong: the file is damaged; save the model again")
