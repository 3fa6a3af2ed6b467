"""Rows of a table in another order, as a stream of chunks: at random, in sorted windows or through a scratch file.

at random   a table of up to 128 MB: every chunk is gathered from anywhere in it.
windows     a table that fits in half of the free memory: its pages stay in the system's cache. One block of the result at a
            time is filled from the source in the source's order, so that pages are given back behind the reader.
scratch     a larger table: read once from end to end, each row goes to the block of the result that it belongs to, in a file
            (the place of the result itself); then each block is read back, put in order and given out. Two sequential
            passes instead of a seek for each row.
"""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from hugectr2onnx.ir import paging
from hugectr2onnx.ir.gathered import Gathered
from hugectr2onnx.ir.row_format import encode
from hugectr2onnx.ir.types import Array

AT_RANDOM = 128 << 20
BLOCK_BYTES = 96 << 20
CHUNK_BYTES = 1 << 22
SCRATCH_CHUNK = 32 << 20
BUFFERS = 4
"""Chunks that are whole at one time when they are given out for writing."""


@dataclass(frozen=True)
class Scratch:
    """A stretch of a file as large as the result, which may hold anything until the result is there."""

    descriptor: int
    offset: int


def chunks(part: Gathered, size: int = CHUNK_BYTES, scratch: Scratch | None = None) -> Iterator[Array]:
    """All rows in order, some bytes at a time. Rows of a block are given out only after it was read from `scratch`."""
    # Who gives a scratch file writes each chunk before it asks for the next but one.
    buffers = BUFFERS if scratch is not None else 0
    if part.source.nbytes <= AT_RANDOM:
        return part.chunks(size, buffers)
    if scratch is None or part.source.nbytes <= free_memory() // 2:
        return _windows(part, size, buffers)
    return _external(part, size, scratch)


def free_memory() -> int:
    """Bytes that the system could give for its cache; without bound where it does not say."""
    try:
        with open("/proc/meminfo", encoding="ascii") as file:
            fields = dict(line.split(":", 1) for line in file)
        return int(fields["MemAvailable"].split()[0]) * 1024
    except (OSError, KeyError, ValueError, IndexError):
        try:
            return os.sysconf("SC_AVPHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
        except (AttributeError, OSError, ValueError):
            return 1 << 62


def _step(part: Gathered, size: int) -> int:
    return max(1, size // max(1, part.row_bytes))


def _windows(part: Gathered, size: int, buffers: int) -> Iterator[Array]:
    """Blocks of the result, each filled in one walk over the source."""
    source, step = np.asarray(part.source), _step(part, size)
    pages, rows = paging.Pages(part.source), _step(part, BLOCK_BYTES)
    for start in range(0, len(part), rows):
        wanted, rank = _sorted(part.order[start : start + rows])
        found = np.empty((len(wanted), *source.shape[1:]), source.dtype)
        # A page holds several rows and its neighbours come with it: the distance walked decides what is mapped.
        marks = np.searchsorted(wanted, np.arange(0, len(source), _step(part, paging.WINDOW_BYTES))).tolist()
        for begin, end in zip(marks, [*marks[1:], len(wanted)], strict=True):
            for at in range(begin, end, step):
                some = slice(at, min(at + step, end))
                np.take(source, wanted[some], axis=0, out=found[some], mode="clip")
            pages.release()
        yield from Gathered(found, rank, part.fill, part.format).chunks(size, buffers)


def _external(part: Gathered, size: int, scratch: Scratch) -> Iterator[Array]:
    rows = _step(part, BLOCK_BYTES)
    _scatter(part, rows, scratch)
    for start in range(0, len(part), rows):
        wanted, rank = _sorted(part.order[start : start + rows])
        found = np.empty((len(wanted), *part.source.shape[1:]), part.dtype)
        _read_all(scratch.descriptor, found, scratch.offset + start * part.stored_row_bytes)
        yield from Gathered(found, rank, part.stored_fill).chunks(size, BUFFERS)


def _sorted(order: Array) -> tuple[Array, Array]:
    """The rows that a block takes from the source, ascending, and which of them each row of the block is, -1 for none."""
    places = np.argsort(order)
    places = places[int(np.count_nonzero(order < 0)) :]
    rank = np.full(len(order), -1, np.int32)
    rank[places] = np.arange(len(places), dtype=np.int32)
    return order[places], rank


def _read_all(descriptor: int, rows: Array, offset: int) -> None:
    data = rows.reshape(-1).view(np.uint8).data
    while len(data):
        count = os.preadv(descriptor, [data], offset)
        if not count:
            raise OSError(errno.EIO, "the file was cut short while it was written")
        data, offset = data[count:], offset + count


def _scatter(part: Gathered, rows: int, scratch: Scratch) -> None:
    """Every row of the source to its block, in the source's order."""
    position = np.full(len(part.source), -1, part.order.dtype)
    (present,) = np.nonzero(part.order >= 0)
    position[part.order[present]] = present
    del present
    fill = np.zeros(-(-len(part) // rows), np.int64)
    start = 0
    for chunk in paging.chunks(part.source, SCRATCH_CHUNK):
        places = position[start : start + len(chunk)]
        start += len(chunk)
        blocks = np.where(places < 0, len(fill), places // rows).astype(np.uint16)
        order = np.argsort(blocks, kind="stable")
        ends = np.cumsum(np.bincount(blocks, minlength=len(fill) + 1))
        # Scratch rows take the place of the result, so they are as long as those of the result.
        moved = encode(np.asarray(chunk).take(order, axis=0), part.format)
        for block, (begin, end) in enumerate(zip([0, *ends[:-1].tolist()], ends.tolist(), strict=True)):
            if block < len(fill) and end > begin:
                at = scratch.offset + (block * rows + int(fill[block])) * part.stored_row_bytes
                _write_all(scratch.descriptor, moved[begin:end], at)
                fill[block] += end - begin


def _write_all(descriptor: int, rows: Array, offset: int) -> None:
    data = rows.reshape(-1).view(np.uint8).data
    while len(data):
        written = os.pwrite(descriptor, data, offset)
        data, offset = data[written:], offset + written
