"""Rows put in order block by block in memory: for a table that the system's cache holds.

Threads walk through the table once for each block of the result and put every row that belongs there in its place; meanwhile
the block before is written. Each row is copied once. Every scan of the table reads only the block number of each row
(1 ns per row).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor

import numpy as np

from hugectr2onnx.backend.reorder.ordered_map import BufferPool, thread_count
from hugectr2onnx.backend.saving.direct_io import FileRegion, whole_pages
from hugectr2onnx.ir.types import Array
from hugectr2onnx.tables import paging
from hugectr2onnx.tables.gathered import Gathered

_BLOCK_BYTES = 1 << 25
"""Rows of the table that a thread looks at in one go: in smaller pieces the threads would mostly wait for one another."""
TAKEN_BYTES = 1 << 20
"""Of those the rows that it moves in one go, so that they stay in the processor's cache on the way."""
_WRITE_BYTES = 1 << 24
BLOCK_MEMORY = 128 << 20
BLOCK_MEMORY_PER_ROW = 7
"""What the two blocks take at most, together."""
MIN_BLOCKS = 4
"""So that most of the result is written and hashed while the rest is put in order."""


class ByBlock:
    """The result in `count` blocks of `rows` rows."""

    def __init__(self, part: Gathered, region: FileRegion, moved: Callable[[int], None]):
        self.part, self.region, self.moved = part, region, moved
        most = max(1, block_bytes(part) // part.stored_row_bytes)
        self.rows = min(len(part), whole_pages(most, part.stored_row_bytes))
        self.count = -(-len(part) // max(1, self.rows))
        self.step = max(1, _BLOCK_BYTES // part.row_bytes)
        self.at_once = max(1, min(TAKEN_BYTES // part.row_bytes, len(part.source)))
        self.numbers = np.empty(len(part.source), np.min_scalar_type(self.count))
        """The block that each row of the source belongs to, `count` for none; the first walk works them out."""
        self.taken = BufferPool((self.at_once, *part.source.shape[1:]), part.source.dtype)

    def run(self) -> Iterator[Array]:
        """Yield all rows in order, a piece at a time, each until the next but one is asked for."""
        blocks = [paging.buffer((self.rows, *self.part.shape[1:]), self.part.dtype) for _ in range(min(2, self.count))]
        with ThreadPoolExecutor(thread_count() + 1, "hugectr2onnx-rows") as pool:
            filling: list[Future[None]] = self._start(pool, blocks, 0)
            try:
                for number in range(self.count):
                    for future in filling:
                        future.result()
                    for piece, is_first in self._write(blocks[number % 2], number):
                        yield piece
                        if is_first:  # what the other block held has now been passed
                            filling = self._start(pool, blocks, number + 1)
            finally:
                for future in filling:
                    future.cancel()

    def _start(self, pool: ThreadPoolExecutor, blocks: list[Array], number: int) -> list[Future[None]]:
        if number >= self.count:
            return []
        low = number * self.rows
        block = blocks[number % 2][: len(self.part) - low]
        missing = np.flatnonzero(self.part.order[low : low + len(block)] < 0)
        if len(missing):
            block[missing] = self.part.stored_fill
        return [pool.submit(self._fill, block, number, at) for at in range(0, len(self.part.source), self.step)]

    def _fill(self, block: Array, number: int, start: int) -> None:
        """Put the rows of a stretch of the table that belong to a block in their places."""
        stretch = slice(start, start + self.step)
        # To read past the map takes 1.6 times as long here: that nothing is missing yet is looked at before each stretch.
        paging.check_whole(self.part.source)
        if number == 0:
            self.numbers[stretch] = self._numbers_of(self.part.places(stretch))
        mine = np.flatnonzero(self.numbers[stretch] == number)
        if len(mine):
            mine += start
            self._move(mine, block, self.part.places(mine) - number * self.rows)
        self.part.forget(stretch)

    def _numbers_of(self, places: Array) -> Array:
        # Dropped rows have place -1, which becomes the largest uint64.
        return np.minimum((places // self.rows).view(np.uint64), self.count)

    def _move(self, rows: Array, block: Array, places: Array) -> None:
        items, buffer = _as_items(block), self.taken.take()
        for at in range(0, len(rows), self.at_once):
            some = rows[at : at + self.at_once]
            items.put(places[at : at + self.at_once], _as_items(self.part.take(some, buffer[: len(some)])))
        self.taken.give(buffer)

    def _write(self, block: Array, number: int) -> Iterator[tuple[Array, bool]]:
        row_bytes = self.part.stored_row_bytes
        low, step = number * self.rows, whole_pages(max(1, _WRITE_BYTES // row_bytes), row_bytes)
        block = block[: len(self.part) - low]
        for at in range(0, len(block), step):
            piece = block[at : at + step]
            self.region.write(piece, (low + at) * row_bytes)
            self.moved(piece.nbytes)
            yield piece, at == 0


def block_bytes(part: Gathered) -> int:
    """Return bytes of a block of the result: two are in memory."""
    most = (BLOCK_MEMORY + BLOCK_MEMORY_PER_ROW * len(part)) // 2
    return max(1, min(most, part.nbytes // MIN_BLOCKS))


def _as_items(rows: Array) -> Array:
    """Return each row as one number of as many bytes, which numpy moves as a whole."""
    return rows.view(np.dtype((np.void, rows.nbytes // len(rows)))).reshape(-1)
