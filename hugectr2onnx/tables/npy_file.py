"""numpy's .npy files: the header is checked against the size of the file before memory is set aside or mapped."""

from __future__ import annotations

import math
import os
from typing import Any, BinaryIO

import numpy as np
from numpy.lib import format as npy

from hugectr2onnx.errors import HugeCTR2ONNXError
from hugectr2onnx.tables.array import Array
from hugectr2onnx.tables.regular_file import open_regular, shown

MAX_READ = 64 << 20
"""Bytes up to which an array is read into memory, so that nobody can cut it short; larger ones are mapped."""
MAX_DIMS = 8


def read_npy(path: str | os.PathLike[str], error: type[HugeCTR2ONNXError], what: str) -> Array:
    """Return the array of a file, mapped where it is large.

    Raises `error` for anything that is not a .npy file of plain values that is as long as its header says.
    """
    with open_regular(path, error, what) as file:
        try:
            return _read(file)
        except Exception as failure:
            # numpy parses the header as Python source: damaged ones raise a dozen kinds of error.
            raise error(f"{what}: {shown(path)} cannot be read as .npy: {shown(failure)}") from None


def _read(file: BinaryIO) -> Array:
    shape, is_fortran, dtype = header_of(file)
    start, size = file.tell(), math.prod(shape) * dtype.itemsize
    found = os.fstat(file.fileno()).st_size - start
    if dtype.hasobject:
        raise ValueError("it holds Python objects, which are not read")
    if found < size:
        raise ValueError(f"it is truncated: its header announces {size:,} bytes, and {found:,} follow")
    order: Any = "F" if is_fortran else "C"
    if size > MAX_READ:
        return np.memmap(file, dtype, "r", start, shape, order)
    return np.frombuffer(file.read(size), dtype, math.prod(shape)).reshape(shape, order=order)


def header_of(file: Any) -> tuple[tuple[int, ...], bool, np.dtype[Any]]:
    """Shape, whether columns come first, and type, by the header of a file that is open at its begin.

    Raises ValueError, or what numpy raises, for a damaged one.
    """
    version = npy.read_magic(file)
    shape, is_fortran, dtype = (npy.read_array_header_1_0 if version == (1, 0) else npy.read_array_header_2_0)(file)
    if len(shape) > MAX_DIMS or any(isinstance(size, bool) or size < 0 for size in shape):
        raise ValueError(f"its header announces the shape {shown(shape)}")
    return shape, is_fortran, dtype
