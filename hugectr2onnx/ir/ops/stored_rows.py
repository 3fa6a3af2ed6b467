"""A table in the ONNX model, in its row format, and gathering from it: always float32 rows, by standard operators."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from hugectr2onnx.ir.op import Emitter
from hugectr2onnx.ir.types import Array
from hugectr2onnx.tables.gathered import Gathered, TensorData, convert
from hugectr2onnx.tables.row_format import RowFormat
from hugectr2onnx.tables.vectors import vectors_of


@dataclass(frozen=True)
class StoredRows:
    """The tensors of a table: its numbers [rows, width], or [rows] for rows of one, and the scales of a format that has them.

    With `is_fused` the scales are [rows], and one operator makes float32 of the rows.
    """

    numbers: str
    scales: str | None
    format: RowFormat
    width: int
    is_fused: bool = False

    def emit_gather(self, out: Emitter, rows: str, shape: Sequence[int] | None = ()) -> str:
        """f32 rows by number: in the shape of the row numbers; fused ones in `shape`, where None is that shape too."""
        if self.is_fused:
            return self._emit_fused(out, rows, shape)
        return self._emit_floats(out, rows)

    def _emit_floats(self, out: Emitter, rows: str) -> str:
        """f32 rows in the shape of their numbers."""
        found = out.node("Gather", self.numbers, rows, axis=0)
        scales = None if self.scales is None else out.node("Gather", self.scales, rows, axis=0)
        return self.format.emit_float32(out, found, scales)

    def _emit_flat(self, out: Emitter, flat: str) -> str:
        """f32 rows of numbers without other axes, by one operator behind the gathers."""
        found = out.node("Gather", self.numbers, flat, axis=0)
        assert self.scales is not None
        return self.format.emit_fused(out, found, out.node("Gather", self.scales, flat, axis=0))

    def _emit_fused(self, out: Emitter, rows: str, shape: Sequence[int] | None) -> str:
        wide = self._emit_flat(out, out.node("Reshape", rows, out.const([-1], "i64")))
        if shape is None:
            dims = out.node("Concat", out.node("Shape", rows), out.const([self.width], "i64"), axis=0)
            return out.node("Reshape", wide, dims, allowzero=1)
        return wide if list(shape) == [-1] else out.node("Reshape", wide, out.const([*shape, self.width], "i64"))


def store(
    out: Emitter, name: str, part: Array | Gathered, tail: Array, format: RowFormat, *, fast: bool = False
) -> StoredRows:
    """Store the rows of a table and those behind it; `fast` makes rows of one number [rows], and may fuse others."""
    width = tail.shape[1]
    flat, fused = fast and width == 1, fast and width > 1 and format.is_fused
    scales = None
    if format.has_scales:
        parts = _flat(flat or fused, _scales(part, format), _scales_of(tail, format))
        scales = out.stacked(f"{name}.scales", *parts)
    numbers = out.stacked(name, *_flat(flat, convert(part, format), format.encode(tail)))
    return StoredRows(numbers, scales, format, width, fused)


def _flat(flat: bool, *parts: TensorData) -> list[TensorData]:
    return [part.reshape(-1) if flat else part for part in parts]


def _scales(part: Array | Gathered, format: RowFormat) -> Array | Gathered:
    """Return the scales of the rows, which were worked out when the table was measured, in the part's order."""
    if not isinstance(part, Gathered):
        return _measured(part, format)
    filled = _scales_of(np.full(1, part.fill, np.float32), format)
    return replace(part, source=_measured(part.source, format), fill=float(filled[0]))


def _scales_of(rows: Array, format: RowFormat) -> Array:
    scales = format.scales(rows)
    assert scales is not None
    return scales


def _measured(table: Array, format: RowFormat) -> Array:
    scales = vectors_of(table).measured(format).scales
    assert scales is not None
    return scales
