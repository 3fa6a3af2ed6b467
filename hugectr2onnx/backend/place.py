"""A stretch of an open file that rows are written to at any place, and read back from."""

from __future__ import annotations

import errno
import os
from dataclasses import dataclass

import numpy as np

from hugectr2onnx.ir.types import Array


@dataclass(frozen=True)
class Place:
    """A stretch of a file as large as the result, which may hold anything until the result is there."""

    descriptor: int
    offset: int

    def read(self, rows: Array, at: int) -> None:
        """Fill an array from `at` bytes on."""
        data, offset = _bytes(rows), self.offset + at
        while len(data):
            count = os.preadv(self.descriptor, [data], offset)
            if not count:
                raise OSError(errno.EIO, "the file was cut short while it was written")
            data, offset = data[count:], offset + count

    def write(self, rows: Array, at: int) -> None:
        """Write an array at `at` bytes."""
        data, offset = _bytes(rows), self.offset + at
        while len(data):
            count = os.pwrite(self.descriptor, data, offset)
            data, offset = data[count:], offset + count


def _bytes(rows: Array) -> memoryview:
    return rows.reshape(-1).view(np.uint8).data
