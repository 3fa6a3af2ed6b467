"""Rows of a table in another order, in the file that they go to.

in blocks    a table that the system's cache holds, or of one block: `in_blocks`.
two passes   a larger one, which nobody wants to read from the disk for each block: `two_passes`.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator

from hugectr2onnx.backend.in_blocks import InBlocks
from hugectr2onnx.backend.place import Place
from hugectr2onnx.backend.two_passes import TwoPasses
from hugectr2onnx.ir.gathered import Gathered
from hugectr2onnx.ir.types import Array

CACHED_SHARE = 2
"""A table is taken to stay in the system's cache where the memory that is left holds it so many times."""

Moved = Callable[[int], None]
"""Called with the bytes that came further, each byte of the result counting once in all."""


def write(part: Gathered, place: Place, moved: Moved) -> Iterator[Array]:
    """Put all rows in their place; gives them in order, each array until the next but one is asked for."""
    blocks = InBlocks(part, place, moved)
    if blocks.count <= 1 or part.source.nbytes * CACHED_SHARE <= available_memory():
        return blocks.run()
    return TwoPasses(part, place, moved).run()


def available_memory() -> int:
    """Bytes that programs can still have, the system's cache among them; 0 where the system does not say."""
    try:
        with open("/proc/meminfo", encoding="ascii") as file:
            numbers = {name: number for name, _, number in (line.partition(":") for line in file)}
        return int(numbers["MemAvailable"].split()[0]) << 10
    except (OSError, ValueError, KeyError, IndexError):
        pass
    try:
        return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") // 2
    except (OSError, ValueError, AttributeError):
        return 0
