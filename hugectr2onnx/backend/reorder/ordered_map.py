"""Work on several threads whose results are taken in order: numpy, file reads and writes all let other threads run."""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from queue import Empty, SimpleQueue
from typing import TypeVar

import numpy as np

from hugectr2onnx.ir.types import Array
from hugectr2onnx.tables import paging

T = TypeVar("T")
R = TypeVar("R")
_MAX_THREADS = 4


def thread_count() -> int:
    """Return threads beside the caller's, which is left a core of its own to write with; four at most."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return max(1, min(_MAX_THREADS, cores - 1))


def ordered_map(work: Callable[[T], R], items: Iterable[T], threads: int) -> Iterator[R]:
    """`work` on each item, results in the order of the items; at most `threads + 1` are under way or wait to be taken.

    The first error of a thread is raised where its result would have come. When the iterator is closed, what has begun is
    waited for and nothing else begins.
    """
    pending: deque[Future[R]] = deque()
    with ThreadPoolExecutor(threads, "hugectr2onnx-rows") as pool:
        try:
            for item in items:
                pending.append(pool.submit(work, item))
                if len(pending) > threads:
                    yield pending.popleft().result()
            while pending:
                yield pending.popleft().result()
        finally:
            for future in pending:
                future.cancel()


class BufferPool:
    """Arrays of one shape that files are read into, and that are used again: new memory costs as much as filling it."""

    def __init__(self, shape: tuple[int, ...], dtype: np.dtype[np.generic]):
        self._shape, self._dtype = shape, dtype
        self._free: SimpleQueue[Array] = SimpleQueue()
        self._last: Array | None = None

    def take(self) -> Array:
        """Return a buffer that nobody uses."""
        try:
            return self._free.get_nowait()
        except Empty:
            return paging.buffer(self._shape, self._dtype)

    def give(self, buffer: Array) -> None:
        """Return a buffer to the pool."""
        self._free.put(buffer)

    def release_previous(self, buffer: Array) -> None:
        """Return the previous buffer to the pool and keep this one until the next call."""
        if self._last is not None:
            self.give(self._last)
        self._last = buffer
