"""Rows put in order through the file that they go to: for a table that memory does not hold.

Pass 1 reads the table once from end to end and appends each row to its bucket, inside the output file; pass 2 reads each bucket
back, sorts it and writes it in place. No row costs a seek, whatever the memory: the pages of
the table are given back behind the reader. Threads sort, the caller's thread alone writes: a file takes one write at a time, so
that two threads that write only wait for one another.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace

import numpy as np

from hugectr2onnx.backend.reorder.ordered_map import BufferPool, ordered_map, thread_count
from hugectr2onnx.backend.saving.direct_io import FileRegion
from hugectr2onnx.ir.types import Array
from hugectr2onnx.tables import paging
from hugectr2onnx.tables.gathered import Gathered

BUCKET_MEMORY = 192 << 20
BUCKET_MEMORY_PER_ROW = 8
"""What the buffers take at most, in all."""
_WRITE_BYTES = 1 << 18
"""What the first pass writes in one go, if the memory suffices: shorter writes take up to three times as long."""


@dataclass(frozen=True, eq=False)
class _Sorted:
    """A stretch of the source by buckets: its rows, which row of its bucket each will be, and how many each bucket gets."""

    buffer: Array
    rows: Array
    ranks: Array
    counts: Array


class ByBucket:
    """The result in buckets of `rows` rows, of which the first pass fills each from its beginning; it reads as many at once."""

    def __init__(self, part: Gathered, region: FileRegion, moved: Callable[[int], None]):
        # What the first pass leaves in the cache would have to go to the disk before pages could go past it.
        self.part, self.region, self.moved = part, replace(region, direct=None), moved
        self.threads = thread_count()
        # For each thread a buffer that it reads into and one that it fills; two that wait, and two more of the caller's.
        most = (BUCKET_MEMORY + BUCKET_MEMORY_PER_ROW * len(part)) // (2 * self.threads + 4)
        size = min(most, math.isqrt(_WRITE_BYTES * part.source.nbytes))
        self.rows = max(1, size // max(1, part.row_bytes))
        self.count = -(-len(part) // self.rows)
        # Sixteen bits are sorted by counting, which takes a fifth of the time.
        self.bucket_type = np.uint16 if self.count < 1 << 16 else np.uint32
        self.filled = np.zeros(self.count, np.int64)
        self.ranks = np.empty(len(part), np.uint32)
        shape = (self.rows, *part.source.shape[1:])
        self.came, self.sorted = BufferPool(shape, part.source.dtype), BufferPool(shape, part.source.dtype)

    def run(self) -> Iterator[Array]:
        starts = range(0, len(self.part.source), self.rows)
        for chunk in ordered_map(self._by_bucket, starts, self.threads):
            self._append(chunk)
            self.moved(chunk.rows.nbytes // 2)
            self.sorted.give(chunk.buffer)
        if self.part.dtype != self.part.source.dtype:
            shape = (self.rows, *self.part.source.shape[1:])
            self.came, self.sorted = BufferPool(shape, self.part.dtype), BufferPool(shape, self.part.dtype)

        def sort(bucket: int) -> tuple[Array, Array]:
            before, after = self.came.take(), self.sorted.take()
            rows = self._sort(bucket, before, after)
            self.came.give(before)
            return after, rows

        for bucket, (after, rows) in enumerate(ordered_map(sort, range(self.count), self.threads)):
            self.region.write(rows, bucket * self.rows * self.part.stored_row_bytes)
            self.moved(rows.nbytes - rows.nbytes // 2)
            yield rows
            self.sorted.release_previous(after)

    def _by_bucket(self, start: int) -> _Sorted:
        rows = self.part.source[start : start + self.rows]
        places = self.part.places(slice(start, start + len(rows)))
        # Rows that go nowhere have negative places and come behind the last bucket.
        buckets = np.minimum((places // self.rows).astype(np.uint64), self.count).astype(self.bucket_type)
        order = np.argsort(buckets, kind="stable")
        counts = np.bincount(buckets, minlength=self.count)[: self.count]
        order = order[: int(counts.sum())]
        came, buffer = self.came.take(), self.sorted.take()
        paging.read(rows, came[: len(rows)])
        self.part.forget(slice(start, start + len(rows)))
        moved = came[: len(rows)].take(order, axis=0, out=buffer[: len(order)], mode="clip")
        self.came.give(came)
        ranks = (places % self.rows).astype(np.uint32).take(order)
        return _Sorted(buffer, self.part.format.encode(moved), ranks, counts)

    def _append(self, chunk: _Sorted) -> None:
        begin = 0
        at = self.filled + np.arange(self.count) * self.rows
        for to, count in zip(at.tolist(), chunk.counts.tolist(), strict=True):
            if count:
                self.ranks[to : to + count] = chunk.ranks[begin : begin + count]
                self.region.write(chunk.rows[begin : begin + count], to * self.part.stored_row_bytes)
                begin += count
        self.filled += chunk.counts

    def _sort(self, bucket: int, before: Array, after: Array) -> Array:
        """Return the rows of a bucket, in order."""
        start, count = bucket * self.rows, int(self.filled[bucket])
        rows, after = before[:count], after[: len(self.part) - start]
        self.region.read(rows, start * self.part.stored_row_bytes)
        order = np.full(len(after), -1, np.int32)
        order[self.ranks[start : start + count]] = np.arange(count, dtype=np.int32)
        return Gathered(rows, order, self.part.stored_fill).take(order, after)
