"""A stretch of an open file that rows are written to at any place, and read back from.

Whole pages of a large file go straight to the disk. The system's cache would have to find as much memory first, which costs
more than the disk does where a virtual machine has given it back to its host, and what it holds for others would have to go.
"""

from __future__ import annotations

import errno
import math
import os
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from hugectr2onnx.ir.types import Array

_PAGE = 4096
"""Bytes that a file and memory must both be aligned to; enough for every disk in use."""
_DIRECT_BYTES = 1 << 26
"""Bytes of a file from which on its pages go past the cache: smaller ones stay there for who reads them next."""
ONE_WRITE = 1 << 16
"""Longer writes let the system cache a file in larger pieces of memory, and those are what a virtual machine gives back to its
host. New ones then take ten times as long: 640 MB in 2.2 s, by writes of this length in 0.3 s, in 0.12 s where none were."""


@dataclass(frozen=True)
class FileRegion:
    """A stretch of a file as large as the result, which may hold anything until the result is there."""

    descriptor: int
    offset: int
    direct: int | None = None
    """The same file once more, for what goes past the cache."""

    def read(self, rows: Array, at: int) -> None:
        """Fill an array from `at` bytes on."""
        data, offset = _bytes(rows).data, self.offset + at
        while len(data):
            count = os.preadv(self.descriptor, [data], offset)
            if not count:
                raise OSError(errno.EIO, "the file was cut short while it was written")
            data, offset = data[count:], offset + count

    def write(self, rows: Array, at: int) -> None:
        """Write an array at `at` bytes; past the cache what begins with a page both there and in memory."""
        start = self.offset + at
        done = self._write_pages(_bytes(rows), start)
        data = _bytes(rows).data
        while done < len(data):
            done += _write_at(self.descriptor, data[done : done + ONE_WRITE], start + done)

    def _write_pages(self, data: Array, start: int) -> int:
        """Write whole pages past the cache; the bytes that went this way."""
        done, whole = 0, len(data) // _PAGE * _PAGE
        if self.direct is None or start % _PAGE or data.ctypes.data % _PAGE:
            return 0
        try:
            while done < whole:
                done += os.pwrite(self.direct, data[done:whole].data, start + done)
        except OSError as error:
            if error.errno != errno.EINVAL:  # a disk with larger pages, or a file system that cannot after all
                raise
        return done


def open_direct(path: Path) -> int | None:
    """Return the file of a path for `FileRegion.direct`, to be closed by the caller; None where that cannot be."""
    if not hasattr(os, "O_DIRECT"):
        return None
    with suppress(OSError):
        return os.open(path, os.O_WRONLY | os.O_DIRECT | os.O_CLOEXEC)
    return None


def whole_pages(rows: int, row_bytes: int) -> int:
    """At most so many rows that fill whole pages; all of them where they fill none."""
    unit = _PAGE // math.gcd(_PAGE, max(1, row_bytes))
    return rows // unit * unit or rows


def _write_at(descriptor: int, data: memoryview, offset: int) -> int:
    if hasattr(os, "pwrite"):
        return os.pwrite(descriptor, data, offset)
    os.lseek(descriptor, offset, os.SEEK_SET)  # Windows, where no thread writes at another place
    return os.write(descriptor, data)


def _bytes(rows: Array) -> Array:
    return rows.reshape(-1).view(np.uint8)
