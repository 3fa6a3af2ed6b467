"""Reading a mapped file from one end to the other without keeping its pages in this process."""

from __future__ import annotations

import contextlib
import errno
import math
import mmap
import os
import weakref
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from hugectr2onnx.errors import WeightsError
from hugectr2onnx.tables.array import Array

CHUNK_BYTES = 8 << 20
WINDOW_BYTES = 64 << 20
ROWS_AT_ONCE = 64


def chunks(array: Array, size: int = CHUNK_BYTES) -> Iterator[Array]:
    """Yield the rows in order, some bytes at a time, pages given back behind them; of an array that is not mapped, just rows.

    Raises WeightsError where the file of a mapped one has become shorter.
    """
    step = max(1, size * len(array) // max(array.nbytes, 1))
    pages, spare = Pages(array), _Spare()
    for start in range(0, len(array), step):
        chunk = array[start : start + step]
        yield _read_into(spare, chunk) if has_file(chunk) else copied(chunk)
        pages.passed(chunk)
    pages.release()


class Map(mmap.mmap):
    """A whole file, read-only. It keeps a large one open: to read a stretch takes half the time of touching its pages."""

    descriptor: int | None = None

    @classmethod
    def of(cls, descriptor: int) -> Map:
        """Map an open file that is not empty."""
        mapped = cls(descriptor, 0, access=mmap.ACCESS_READ)
        if len(mapped) >= WINDOW_BYTES and hasattr(os, "preadv"):
            mapped.descriptor = os.dup(descriptor)
        return mapped

    def __del__(self) -> None:
        if self.descriptor is not None:
            os.close(self.descriptor)


def buffer(shape: tuple[int, ...], dtype: np.dtype[Any]) -> Array:
    """New memory that begins with a page, to read a file into.

    numpy's own begins 16 bytes behind one, where the kernel's copy takes eight times as long on AMD's Zen 3.
    """
    count = math.prod(shape)
    if not count:
        return np.empty(shape, dtype)
    return np.frombuffer(_anonymous(count * dtype.itemsize), dtype, count).reshape(shape)


def _anonymous(size: int) -> mmap.mmap:
    # Shared memory, which is what `mmap` gives unasked, would not come in huge pages.
    private = {"flags": mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS} if hasattr(mmap, "MAP_PRIVATE") else {}
    memory = mmap.mmap(-1, size, **private)
    if hasattr(mmap, "MADV_HUGEPAGE"):
        with contextlib.suppress(OSError):
            memory.madvise(mmap.MADV_HUGEPAGE)
    return memory


def read(array: Array, out: Array) -> None:
    """Copy a stretch of an array, past its map where that can be: `out` is contiguous, of the same shape and type."""
    file = _file_of(array)
    if file is None:
        np.copyto(out, array)
        forget(array)
    else:
        _read(file.descriptor, out, file.offset)


def copied(array: Array) -> Array:
    """Return mapped rows in memory of our own: to touch what somebody cuts off ends the process (SIGBUS).

    Raises WeightsError where the file has become shorter.
    """
    mapped = map_of(array)
    if mapped is None or not array.nbytes:
        return array
    if not array.flags.c_contiguous:
        return _copied_with_gaps(array)
    if _file_of(array) is not None:
        found = buffer(array.shape, array.dtype)
        read(array, found)
    else:
        found = _copied_by_the_system(array)
    check_whole(array)  # the system fills the rest of a last page with zeros
    return found


class _Spare:
    """Memory that files are read into, used again once nobody holds what was read: new memory costs as much as filling it."""

    def __init__(self) -> None:
        self._kept: deque[tuple[mmap.mmap, weakref.ref[Array]]] = deque(maxlen=2)

    def take(self, shape: tuple[int, ...], dtype: np.dtype[Any]) -> Array:
        size = math.prod(shape) * dtype.itemsize
        # Who walks through chunks holds one while the next is read.
        memory, given = self._kept.popleft() if len(self._kept) == 2 else (None, None)
        # numpy lets every view hold the array that was made of the memory, so it lives as long as anybody reads.
        if memory is None or given is None or given() is not None or len(memory) < size:
            memory = _anonymous(size)
        flat = np.frombuffer(memory, dtype, math.prod(shape))
        self._kept.append((memory, weakref.ref(flat)))
        return flat.reshape(shape)


def _read_into(spare: _Spare, array: Array) -> Array:
    found = spare.take(array.shape, array.dtype)
    read(array, found)
    check_whole(array)
    return found


def guarded(array: Array) -> Array:
    """Return the same rows: copied if their file is below 64 MB, of a larger one once it is known to be whole yet."""
    if not has_file(array):
        return copied(array)
    check_whole(array)
    return array


def check_whole(array: Array) -> None:
    """Raise WeightsError where the file of a mapped array has become shorter than its map."""
    mapped = map_of(array)
    if mapped is not None and mapped.size() < len(mapped):
        raise _shortened()


def _copied_with_gaps(array: Array) -> Array:
    """Return a copy of a field of records, with the bytes between."""
    low, high = _bounds(array)
    first = int(array.__array_interface__["data"][0]) - low
    mapped = map_of(array)
    begin = _offset(array, mapped) if mapped is not None else 0
    whole = copied(np.frombuffer(mapped, np.uint8, high - low, begin))  # type: ignore[arg-type]
    return np.ndarray(array.shape, array.dtype, whole, first, array.strides)


def has_file(array: Array) -> bool:
    """Tell whether `read` goes past the map."""
    return _file_of(array) is not None


def _copied_by_the_system(array: Array) -> Array:
    """Copy by way of a file in memory: where a page is missing, the system refuses to read it, and nobody is killed."""
    if not hasattr(os, "memfd_create"):
        return array
    descriptor = os.memfd_create("hugectr2onnx")
    try:
        data = array.reshape(-1).view(np.uint8).data
        while data:
            data = data[os.write(descriptor, data) :]
        return np.frombuffer(mmap.mmap(descriptor, array.nbytes), array.dtype).reshape(array.shape)
    except OSError as error:
        if error.errno != errno.EFAULT:
            raise
        raise _shortened() from None
    finally:
        os.close(descriptor)


def _shortened() -> WeightsError:
    return WeightsError("a weight file became shorter while it was read: convert a copy that nobody writes to")


def take(array: Array, rows: Array) -> Array:
    """Return rows by number (0 and up), one by one if they lie in a large file: a touched page brings its neighbours."""
    found = np.empty((len(rows), *array.shape[1:]), array.dtype)
    file = _file_of(array)
    if file is None:
        return _take_mapped(array, rows, found)
    row_bytes = array.nbytes // len(array)
    for at, number in enumerate(rows.tolist()):
        _read(file.descriptor, found[at : at + 1], file.offset + number * row_bytes)
    return found


def _take_mapped(array: Array, rows: Array, found: Array) -> Array:
    if array.nbytes < WINDOW_BYTES or map_of(array) is None:
        return np.asarray(array[rows])
    pages = Pages(array)
    for start in range(0, len(rows), ROWS_AT_ONCE):
        found[start : start + ROWS_AT_ONCE] = array[rows[start : start + ROWS_AT_ONCE]]
        pages.release()
    return found


@dataclass(frozen=True)
class _Stretch:
    """The stretch of an open file that an array takes."""

    descriptor: int
    offset: int


def _file_of(array: Array) -> _Stretch | None:
    mapped = map_of(array)
    if not isinstance(mapped, Map) or mapped.descriptor is None or not array.flags.c_contiguous:
        return None
    return _Stretch(mapped.descriptor, _offset(array, mapped))


def _read(descriptor: int, out: Array, offset: int) -> None:
    data = out.reshape(-1).view(np.uint8).data
    while len(data):
        count = os.preadv(descriptor, [data], offset)
        if not count:
            raise _shortened()
        data, offset = data[count:], offset + count


def forget(chunk: Array) -> None:
    """Give back the pages of a stretch of a mapped array, those that it shares with its neighbours kept."""
    mapped = map_of(chunk)
    if mapped is None or not chunk.size or not hasattr(mmap, "MADV_DONTNEED"):
        return
    low, high = _bounds(chunk)
    begin = _offset(chunk, mapped)
    start = -(-begin // mmap.PAGESIZE) * mmap.PAGESIZE
    length = (begin + high - low) // mmap.PAGESIZE * mmap.PAGESIZE - start
    if length > 0:
        with contextlib.suppress(OSError, ValueError):
            mapped.madvise(mmap.MADV_DONTNEED, start, length)


class Pages:
    """The pages of a mapped array; gives them back to the system, whose cache still has them."""

    def __init__(self, array: Array):
        self._map = map_of(array)
        self._seen = 0

    def passed(self, chunk: Array) -> None:
        """Say that a chunk was read; every 64 MB the pages go."""
        self._seen += chunk.nbytes
        if self._seen >= WINDOW_BYTES:
            self.release()

    def release(self) -> None:
        """Give back all pages."""
        self._seen = 0
        if self._map is not None and hasattr(mmap, "MADV_DONTNEED"):
            with contextlib.suppress(OSError, ValueError):
                self._map.madvise(mmap.MADV_DONTNEED)


def _offset(array: Array, mapped: mmap.mmap) -> int:
    first = int(np.frombuffer(mapped, np.uint8, 1).__array_interface__["data"][0])
    return _bounds(array)[0] - first


def _bounds(array: Array) -> tuple[int, int]:
    """Return the addresses of the first byte of `array` and of the byte past its last."""
    # numpy's own function stands at another place in numpy 1 than in numpy 2.
    first = int(array.__array_interface__["data"][0])
    if not array.size:
        return first, first
    reaches = [stride * (length - 1) for stride, length in zip(array.strides, array.shape, strict=True)]
    backwards, forwards = sum(min(0, each) for each in reaches), sum(max(0, each) for each in reaches)
    return first + backwards, first + forwards + array.itemsize


def map_of(array: Any) -> mmap.mmap | None:
    """Return the read-only map behind an array: only there do given-back pages come again."""
    base = array
    while isinstance(base, np.ndarray | memoryview):
        base = base.base if isinstance(base, np.ndarray) else base.obj
    if not isinstance(base, mmap.mmap):
        return None
    with memoryview(base) as view:
        return base if view.readonly else None
