"""How the vectors of a table are stored: as they are, as half floats, or as bytes with a scale for each row.

fp16   the nearest half float
int8   scale = max|row| / 127, q = round(row / scale); the row is q * scale, in float32

A row of zeros stays zeros in both. Rows are worked out a chunk at a time, so that no table is ever copied as a whole.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Literal, get_args

import numpy as np

from hugectr2onnx.tables import paging
from hugectr2onnx.tables.array import Array

RowFormat = Literal["fp32", "fp16", "int8"]
FORMATS: tuple[RowFormat, ...] = get_args(RowFormat)
"""From the largest to the smallest."""
STEPS = np.float32(127)
SCALE_BYTES = 4
CHUNK_BYTES = 1 << 20
"""Rows of so many bytes pass through the processor's cache together: four times as fast as 8 MB."""

_DTYPES: Mapping[RowFormat, np.dtype[Any]] = {
    "fp32": np.dtype(np.float32),
    "fp16": np.dtype(np.float16),
    "int8": np.dtype(np.int8),
}


def dtype_of(format: RowFormat) -> np.dtype[Any]:
    """The type of the stored numbers."""
    return _DTYPES[format]


def row_bytes(format: RowFormat, width: int) -> int:
    """What a row takes, its scale among it."""
    return _DTYPES[format].itemsize * width + (SCALE_BYTES if format == "int8" else 0)


def smallest(format: RowFormat, width: int) -> RowFormat:
    """The format itself, or a more exact one that takes no more bytes: a scale is worth it from 5 numbers a row on."""
    return min(FORMATS[: FORMATS.index(format) + 1], key=lambda each: row_bytes(each, width))


def scales_of(rows: Array) -> Array:
    """float32 [n, 1] for rows [n, width], or [n] for rows of one number each; not finite where the row is not."""
    if rows.ndim == 1:
        return np.abs(rows) / STEPS
    highest: Array = np.maximum(rows.max(axis=1, initial=0), -rows.min(axis=1, initial=0))
    return highest[:, None] / STEPS


def encode(rows: Array, format: RowFormat) -> Array:
    """The numbers that are stored for float32 rows; with int8 the rows' `scales_of` belong to them."""
    if format == "fp32":
        return rows
    with np.errstate(all="ignore"):
        if format == "fp16":
            return rows.astype(np.float16)
        steps = rows / scales_of(rows)
        np.rint(steps, out=steps)
        # A row of zeros or of numbers that are not finite has no steps; its scale says what it is.
        if not np.isfinite(steps).all():
            np.nan_to_num(steps, copy=False, nan=0.0)
        return np.clip(steps, -STEPS, STEPS, out=steps).astype(np.int8)


def decode(stored: Array, scales: Array | None) -> Array:
    """float32 rows from stored numbers, as the model computes them."""
    with np.errstate(all="ignore"):
        wide: Array = stored.astype(np.float32)
        return wide if scales is None else wide * scales


def round_trip(rows: Array, format: RowFormat) -> Array:
    """The float32 rows that come back out of a format."""
    if format == "fp32":
        return rows
    return decode(encode(rows, format), scales_of(rows) if format == "int8" else None)


@dataclass(frozen=True, eq=False)
class Measured:
    """What a format does to a table: the largest and the root mean square error of its numbers, the scales of its rows.

    Numbers that are not finite in the table are left out.
    """

    max_error: float
    rms_error: float
    scales: Array | None
    """float32 [rows, 1] with int8, else None."""


class Vectors(np.ndarray[Any, Any]):
    """The vectors of a table with what was measured of them; a view, never a copy."""

    dropped = 0
    """How many rows of the file are not among them."""

    @cached_property
    def _measured(self) -> dict[RowFormat, Measured]:
        return {}

    def measured(self, format: RowFormat) -> Measured:
        """One pass over the table for each format."""
        if format not in self._measured:
            self._measured[format] = _measure(np.asarray(self), format)
        return self._measured[format]


def vectors_of(array: Array) -> Vectors:
    """The array with what was measured, which is the same one each time where it is a Vectors already."""
    return array if isinstance(array, Vectors) else array.view(Vectors)


def _measure(table: Array, format: RowFormat) -> Measured:
    scales = np.empty((len(table), 1), np.float32) if format == "int8" else None
    worst, squares, count, start = 0.0, 0.0, 0, 0
    for chunk in paging.chunks(table, CHUNK_BYTES) if format != "fp32" else ():
        rows = np.asarray(chunk)
        with np.errstate(all="ignore"):
            own = scales_of(rows) if scales is not None else None
            error = np.abs(decode(encode(rows, format), own) - rows)
        if scales is not None:
            scales[start : start + len(rows)] = own
        start += len(rows)
        if not np.isfinite(error).all():
            error = error[np.isfinite(rows)]
            error[np.isnan(error)] = np.inf
        worst = max(worst, float(error.max(initial=0)))
        squares += float(np.square(error, dtype=np.float64).sum()) if worst < np.inf else np.inf
        count += error.size
    return Measured(worst, float(np.sqrt(squares / max(count, 1))), scales)
