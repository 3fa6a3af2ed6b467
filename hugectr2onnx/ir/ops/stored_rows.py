"""A table in the ONNX model, in its row format, and gathering from it: always float32 rows, by standard operators.

com.microsoft's GatherBlockQuantized reads the same bytes, but takes 2 to 13 times as long on onnxruntime's CPU.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from hugectr2onnx.ir.gathered import Gathered, Part, convert
from hugectr2onnx.ir.op import Emitter
from hugectr2onnx.ir.row_format import RowFormat, encode, scales_of, vectors_of
from hugectr2onnx.ir.types import Array, DType


@dataclass(frozen=True)
class StoredRows:
    """The tensors of a table: its numbers [rows, width], or [rows] for rows of one, and with int8 a scale for each row."""

    numbers: str
    scales: str | None
    format: RowFormat

    def emit_gather(self, out: Emitter, rows: str) -> str:
        """f32 rows by number."""
        found = out.node("Gather", self.numbers, rows, axis=0)
        if self.format == "fp32":
            return found
        wide = out.node("Cast", found, to=DType.F32)
        if self.scales is None:
            return wide
        return out.node("Mul", wide, out.node("Gather", self.scales, rows, axis=0))


def store(
    out: Emitter, name: str, part: Array | Gathered, tail: Array, format: RowFormat, *, flat: bool = False
) -> StoredRows:
    """The rows of a table and those behind it; `flat` makes rows of one number [rows]."""
    scales = None
    if format == "int8":
        parts = _flat(flat, _scales(part), scales_of(tail))
        scales = out.stacked(f"{name}.scales", *parts)
    numbers = out.stacked(name, *_flat(flat, convert(part, format), encode(tail, format)))
    return StoredRows(numbers, scales, format)


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
