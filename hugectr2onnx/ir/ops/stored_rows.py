"""A table in the ONNX model, in its row format, and gathering from it: always float32 rows, by standard operators.

DequantizeLinear with a scale for each row takes 0.7 of the time of Cast and Mul for rows of 16 numbers, and as long for rows of
128; it wants rows [n, width]. com.microsoft's GatherBlockQuantized reads the same bytes, but takes 2 to 3 times as long as
either on onnxruntime's CPU.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from hugectr2onnx.ir.op import Emitter
from hugectr2onnx.ir.types import Array, DType
from hugectr2onnx.tables.gathered import Gathered, Part, convert
from hugectr2onnx.tables.row_format import RowFormat, encode, scales_of, vectors_of


@dataclass(frozen=True)
class StoredRows:
    """The tensors of a table: its numbers [rows, width], or [rows] for rows of one, and with int8 a scale for each row.

    Where `is_fused` the scales are [rows], and one operator makes float32 of the rows and multiplies.
    """

    numbers: str
    scales: str | None
    format: RowFormat
    width: int
    is_fused: bool = False

    def emit_gather(self, out: Emitter, rows: str, shape: Sequence[int] = ()) -> str:
        """f32 rows by number: in the shape of the row numbers, or where they are fused in `shape`."""
        if self.is_fused:
            return self._emit_fused(out, rows, shape)
        found = out.node("Gather", self.numbers, rows, axis=0)
        if self.format == "fp32":
            return found
        wide = out.node("Cast", found, to=DType.F32)
        if self.scales is None:
            return wide
        return out.node("Mul", wide, out.node("Gather", self.scales, rows, axis=0))

    def _emit_fused(self, out: Emitter, rows: str, shape: Sequence[int]) -> str:
        flat = out.node("Reshape", rows, out.const([-1], "i64"))
        found = out.node("Gather", self.numbers, flat, axis=0)
        assert self.scales is not None
        scales = out.node("Gather", self.scales, flat, axis=0)
        wide = out.node("DequantizeLinear", found, scales, axis=0)
        return wide if list(shape) == [-1] else out.node("Reshape", wide, out.const([*shape, self.width], "i64"))


def store(
    out: Emitter, name: str, part: Array | Gathered, tail: Array, format: RowFormat, *, fast: bool = False
) -> StoredRows:
    """The rows of a table and those behind it; `fast` makes rows of one number [rows], and may fuse others."""
    width = tail.shape[1]
    flat, fused = fast and width == 1, fast and width > 1 and format == "int8"
    scales = None
    if format == "int8":
        parts = _flat(flat or fused, _scales(part), scales_of(tail))
        scales = out.stacked(f"{name}.scales", *parts)
    numbers = out.stacked(name, *_flat(flat, convert(part, format), encode(tail, format)))
    return StoredRows(numbers, scales, format, width, fused)


def _flat(flat: bool, *parts: Part) -> list[Part]:
    return [part.reshape(-1) if flat else part for part in parts]


def _scales(part: Array | Gathered) -> Array | Gathered:
    """The scales of the rows, which were worked out when the table was measured, in the part's order."""
    if not isinstance(part, Gathered):
        return _measured(part)
    filled = scales_of(np.full(1, part.fill, np.float32))
    return replace(part, source=_measured(part.source), fill=float(filled[0]))


def _measured(table: Array) -> Array:
    scales = vectors_of(table).measured("int8").scales
    assert scales is not None
    return scales
