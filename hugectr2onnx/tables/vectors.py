"""The vectors of a table, with the error that each row format makes of them: measured once, chunk by chunk."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from hugectr2onnx.tables import paging
from hugectr2onnx.tables.array import Array
from hugectr2onnx.tables.row_format import RowFormat

CACHED_BYTES = 1 << 20
"""Rows of so many bytes pass through the processor's cache together: four times as fast as 8 MB."""


@dataclass(frozen=True, eq=False)
class Measured:
    """Errors of a format on a table: the largest and the root mean square over its numbers; the scales of its rows.

    Numbers that are not finite in the table are left out.
    """

    max_error: float
    rms_error: float
    scales: Array | None
    """float32 [rows, 1] for a format with scales, else None."""

    @property
    def is_refused(self) -> bool:
        """Whether the format cannot hold some number at all."""
        return self.max_error == float("inf")


class Vectors(np.ndarray[Any, Any]):
    """The vectors of a table, float32 [rows, width], with what was measured of them; a view, never a copy."""

    dropped = 0
    """How many rows of the file are not among them."""

    @cached_property
    def _measured(self) -> dict[RowFormat, Measured]:
        return {}

    def measured(self, format: RowFormat) -> Measured:
        """Return one pass over the table for each format."""
        if format not in self._measured:
            self._measured[format] = _measure(np.asarray(self), format)
        return self._measured[format]


def vectors_of(array: Array) -> Vectors:
    """Return a view of the array that keeps its measurements; a Vectors is returned as it is."""
    return array if isinstance(array, Vectors) else array.view(Vectors)


def _measure(table: Array, format: RowFormat) -> Measured:
    if format.is_exact:
        return Measured(0.0, 0.0, None)
    scales = np.empty((len(table), 1), np.float32) if format.has_scales else None
    worst, squares, count, start = 0.0, 0.0, 0, 0
    for chunk in paging.chunks(table, CACHED_BYTES):
        rows = np.asarray(chunk)
        with np.errstate(all="ignore"):
            own = format.scales(rows)
            error = np.abs(format.decode(format.encode(rows), own) - rows)
        if scales is not None:
            scales[start : start + len(rows)] = own
        start += len(rows)
        # The error of a number that is not finite is none; a finite number that comes back as NaN is as wrong as can be.
        if not np.isfinite(error).all():
            error = error[np.isfinite(rows)]
            error[np.isnan(error)] = np.inf
        worst = max(worst, float(error.max(initial=0)))
        squares += float(np.square(error, dtype=np.float64).sum()) if worst < np.inf else np.inf
        count += error.size
    return Measured(worst, float(np.sqrt(squares / max(count, 1))), scales)
