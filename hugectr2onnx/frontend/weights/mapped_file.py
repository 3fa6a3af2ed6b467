"""Binary files, mapped read-only: sizes are checked before anything is mapped, nothing is copied."""

from __future__ import annotations

import os
import stat
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hugectr2onnx.errors import WeightsError
from hugectr2onnx.frontend.foreign_files import foreign_kind, is_surely_foreign
from hugectr2onnx.frontend.graph_json.json_text import StrPath
from hugectr2onnx.tables.paging import Map
from hugectr2onnx.tables.regular_file import open_regular, reason

INT64 = np.dtype("<i8")
FLOAT32 = np.dtype("<f4")
"""HugeCTR's files are little-endian."""


def file_status(path: StrPath, what: str) -> os.stat_result:
    """Return the status behind a path, links followed; raises WeightsError where there is nothing or it cannot be reached."""
    try:
        return Path(path).stat()
    except FileNotFoundError:
        raise WeightsError(f"{path}: no such file; it should hold {what}") from None
    except (OSError, ValueError) as failure:
        raise WeightsError(f"{path}: cannot be read: {reason(failure)}; it should hold {what}") from None


def file_size(path: StrPath, what: str) -> int:
    """Return the size of a regular file in bytes; raises WeightsError for folders, pipes and devices."""
    status = file_status(path, what)
    if stat.S_ISDIR(status.st_mode):
        raise WeightsError(f"{path}: is a folder, expected a file with {what}")
    if not stat.S_ISREG(status.st_mode):
        raise WeightsError(f"{path}: is not a regular file, expected {what}")
    return status.st_size


def map_file(path: StrPath, dtype: np.dtype[Any], what: str) -> NDArray[Any]:
    """Return the whole file as a read-only vector of `dtype`; an empty file gives an empty array.

    Raises WeightsError where the size is no multiple of the element, or the file cannot be read.
    """
    file_size(path, what)
    with open_regular(path, WeightsError, what) as file:
        size = os.fstat(file.fileno()).st_size
        if is_surely_foreign(path):
            raise WeightsError(f"{path}: should hold {what}, and is {foreign_kind(path)}")
        if size % dtype.itemsize:
            kind = foreign_kind(path)
            known = f"it is {kind}" if kind else "it is truncated or of another kind"
            raise WeightsError(f"{path}: has {size} bytes, no multiple of {dtype.itemsize} ({what}); {known}")
        if size == 0:
            return read_only(np.empty(0, dtype))
        try:
            return np.frombuffer(Map.of(file.fileno()), dtype, size // dtype.itemsize)
        except (OSError, ValueError, MemoryError) as failure:
            why = "not enough address space" if isinstance(failure, MemoryError) else reason(failure)
            raise WeightsError(f"{path}: cannot be mapped: {why}") from None


def read_only(array: NDArray[Any]) -> NDArray[Any]:
    array.flags.writeable = False
    return array
