"""Reading a mapped file from one end to the other without keeping its pages in this process."""

from __future__ import annotations

import contextlib
import mmap
from collections.abc import Iterator
from typing import Any

import numpy as np

from hugectr2onnx.ir.types import Array

CHUNK_BYTES = 8 << 20
WINDOW_BYTES = 64 << 20
ROWS_AT_ONCE = 64


def chunks(array: Array, size: int = CHUNK_BYTES) -> Iterator[Array]:
    """The rows in order, some bytes at a time, pages given back behind them; of an array that is not mapped, just rows."""
    step = max(1, size * len(array) // max(array.nbytes, 1))
    pages = Pages(array)
    for start in range(0, len(array), step):
        chunk = array[start : start + step]
        yield chunk
        pages.passed(chunk)
    pages.release()


def take(array: Array, rows: Array) -> Array:
    """Some rows from anywhere. A page that is touched may bring a megabyte of neighbours: they go as it goes on."""
    if array.nbytes < WINDOW_BYTES or _map_of(array) is None:
        return np.asarray(array[rows])
    pages = Pages(array)
    found = np.empty((len(rows), *array.shape[1:]), array.dtype)
    for start in range(0, len(rows), ROWS_AT_ONCE):
        found[start : start + ROWS_AT_ONCE] = array[rows[start : start + ROWS_AT_ONCE]]
        pages.release()
    return found


class Pages:
    """The pages of a mapped array; gives them back to the system, whose cache still has them."""

    def __init__(self, array: Array):
        self._map = _map_of(array)
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


def _map_of(array: Any) -> mmap.mmap | None:
    """The read-only map behind an array: only there do given-back pages come again."""
    base = array
    while isinstance(base, np.ndarray | memoryview):
        base = base.base if isinstance(base, np.ndarray) else base.obj
    if not isinstance(base, mmap.mmap):
        return None
    with memoryview(base) as view:
        return base if view.readonly else None
