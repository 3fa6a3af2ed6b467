"""Rows of a table in another order, in the file that they go to.

at random    a table of up to 192 MB: every chunk of the result is gathered from anywhere in its map.
by block     a larger one that the system's cache holds: `by_block`.
by bucket    one that it does not hold, which would be read from the disk again for each block: `by_bucket`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

from hugectr2onnx.backend.reorder.by_block import ByBlock
from hugectr2onnx.backend.reorder.by_bucket import ByBucket
from hugectr2onnx.backend.reorder.ordered_map import BufferPool, ordered_map, thread_count
from hugectr2onnx.backend.runtime.system_memory import available_memory
from hugectr2onnx.backend.saving.direct_io import FileRegion, whole_pages
from hugectr2onnx.ir.types import Array
from hugectr2onnx.tables import paging
from hugectr2onnx.tables.gathered import Gathered

AT_RANDOM = 192 << 20
_PIECE_BYTES = 1 << 23
CACHED_SHARE = 2
"""A table is taken to stay in the system's cache where the memory that is left holds it so many times."""

Moved = Callable[[int], None]
"""Progress callback: number of result bytes completed since the last call."""


def write(part: Gathered, region: FileRegion, moved: Moved) -> Iterator[Array]:
    """Put all rows in their place; gives them in order, each array until the next but one is asked for."""
    if part.source.nbytes <= AT_RANDOM:
        return _at_random(part, region, moved)
    if part.source.nbytes * CACHED_SHARE <= available_memory():
        return ByBlock(part, region, moved).run()
    return ByBucket(part, region, moved).run()


def _at_random(part: Gathered, region: FileRegion, moved: Moved) -> Iterator[Array]:
    step = whole_pages(max(1, _PIECE_BYTES // max(1, part.row_bytes)), part.stored_row_bytes)
    buffers = BufferPool((min(step, len(part)), *part.source.shape[1:]), part.source.dtype)

    def gather(start: int) -> tuple[Array, Array]:
        order, buffer = part.order[start : start + step], buffers.take()
        return buffer, part.take(order, buffer[: len(order)])

    start = 0
    for buffer, rows in ordered_map(gather, range(0, len(part), step), thread_count()):
        region.write(rows, start * part.stored_row_bytes)
        start += len(rows)
        moved(rows.nbytes)
        yield rows
        buffers.release_previous(buffer)
    paging.Pages(part.source).release()
