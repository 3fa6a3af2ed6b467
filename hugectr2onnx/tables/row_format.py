"""Row formats: the rows of a table as they are, as half floats, or as bytes with a scale for each row.

Each format is one class, and nothing else in the package names one: to add a format, write a subclass of `RowFormat` here
and put its instance into `FORMATS`. The option, the flag, the report, the forecast and the proof ask the class.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Protocol

import numpy as np

from hugectr2onnx.tables.array import Array

ONNX_FLOAT = 1
"""float32 among ONNX's element types (TensorProto.DataType)."""


class NodeWriter(Protocol):
    """The part of the emitter that a format needs (`ir.op.Emitter`): nodes, and tensors known by their names."""

    def node(self, op_type: str, *inputs: str, domain: str = "", **attributes: Any) -> str:
        """Append an ONNX node with one output and return the output's name."""


@dataclass(frozen=True, repr=False)
class RowFormat:
    """One way to store float32 rows [n, width]; a subclass without fields, so that its instances are equal.

    A subclass states `name` (what users give), `dtype` (of a stored number), `refusal` (the numbers that it cannot hold, as
    the end of "it holds ..."), and fills in `encode` and `emit_float32`. A format with a scale for each row sets `has_scales`
    and fills in `scales` and `decode`; where one ONNX operator makes float32 of flat rows and their scales, it sets `is_fused`
    and fills in `emit_fused`. A row of zeros must come back as zeros: padding is one.
    """

    name: ClassVar[str]
    dtype: ClassVar[np.dtype[Any]]
    refusal: ClassVar[str] = "numbers that it cannot hold"
    scale_bytes: ClassVar[int] = 0
    """Bytes of the scale of a row; 0 for a format without scales."""
    is_exact: ClassVar[bool] = False
    """Whether every float32 number comes back as it was."""
    is_fused: ClassVar[bool] = False
    """Whether `emit_fused` turns gathered rows and scales into float32 with one operator."""

    @property
    def has_scales(self) -> bool:
        return self.scale_bytes > 0

    def row_bytes(self, width: int) -> int:
        """Return bytes of one row of so many numbers, its scale included."""
        return self.dtype.itemsize * width + self.scale_bytes

    def at_width(self, width: int) -> RowFormat:
        """This format, or a more exact one whose rows of this width take no more bytes."""
        return min(FORMATS[: FORMATS.index(self) + 1], key=lambda each: each.row_bytes(width))

    @property
    def more_exact(self) -> RowFormat:
        """The next format with larger rows; the largest is its own."""
        return FORMATS[max(FORMATS.index(self) - 1, 0)]

    def scales(self, rows: Array) -> Array | None:
        """float32 [n, 1] for rows [n, width], [n] for rows of one number each; None for a format without scales."""
        return None

    def encode(self, rows: Array) -> Array:
        """Return the stored numbers of float32 rows, in the same shape."""
        raise NotImplementedError

    def decode(self, stored: Array, scales: Array | None) -> Array:
        """Return the float32 rows that the model computes from stored numbers and their scales."""
        return stored.astype(np.float32)

    def round_trip(self, rows: Array) -> Array:
        """Return the float32 rows that come back."""
        return self.decode(self.encode(rows), self.scales(rows))

    def emit_float32(self, out: NodeWriter, stored: str, scales: str | None) -> str:
        """Write the nodes of `decode` for gathered rows; `scales` have their shape but for a last axis of 1."""
        raise NotImplementedError

    def emit_fused(self, out: NodeWriter, stored: str, scales: str) -> str:
        """Return the same for flat rows [n, width] and scales [n], with one operator (`is_fused`)."""
        raise NotImplementedError

    def __str__(self) -> str:
        return self.name

    __repr__ = __str__


class Float32(RowFormat):
    """The rows as the source has them."""

    name = "fp32"
    dtype = np.dtype(np.float32)
    is_exact = True

    def encode(self, rows: Array) -> Array:
        return rows

    def round_trip(self, rows: Array) -> Array:
        return rows

    def emit_float32(self, out: NodeWriter, stored: str, scales: str | None) -> str:
        return stored


class Float16(RowFormat):
    """The nearest half float."""

    name = "fp16"
    dtype = np.dtype(np.float16)
    refusal = "numbers beyond 65504"

    def encode(self, rows: Array) -> Array:
        with np.errstate(all="ignore"):
            return rows.astype(np.float16)

    def emit_float32(self, out: NodeWriter, stored: str, scales: str | None) -> str:
        return out.node("Cast", stored, to=ONNX_FLOAT)


class Int8(RowFormat):
    """scale = max|row| / 127, q = round(row / scale); the row is q * scale, in float32.

    DequantizeLinear with a scale for each row takes 0.7 of the time of Cast and Mul for rows of 16 numbers, and as long for
    rows of 128. com.microsoft's GatherBlockQuantized reads the same bytes, but takes 2 to 3 times as long as either on
    onnxruntime's CPU.
    """

    name = "int8"
    dtype = np.dtype(np.int8)
    refusal = "NaN or infinite numbers"
    scale_bytes = 4
    is_fused = True
    steps = np.float32(127)

    def scales(self, rows: Array) -> Array:
        """Not finite where the row is not."""
        if rows.ndim == 1:
            return np.abs(rows) / self.steps
        highest: Array = np.maximum(rows.max(axis=1, initial=0), -rows.min(axis=1, initial=0))
        return highest[:, None] / self.steps

    def encode(self, rows: Array) -> Array:
        with np.errstate(all="ignore"):
            steps = rows / self.scales(rows)
            np.rint(steps, out=steps)
            # A row of zeros or of numbers that are not finite has no steps; its scale says what it is.
            if not np.isfinite(steps).all():
                np.nan_to_num(steps, copy=False, nan=0.0)
            return np.clip(steps, -self.steps, self.steps, out=steps).astype(np.int8)

    def decode(self, stored: Array, scales: Array | None) -> Array:
        assert scales is not None
        with np.errstate(all="ignore"):
            wide: Array = stored.astype(np.float32)
            return np.asarray(wide * scales)

    def emit_float32(self, out: NodeWriter, stored: str, scales: str | None) -> str:
        assert scales is not None
        return out.node("Mul", out.node("Cast", stored, to=ONNX_FLOAT), scales)

    def emit_fused(self, out: NodeWriter, stored: str, scales: str) -> str:
        return out.node("DequantizeLinear", stored, scales, axis=0)


FP32, FP16, INT8 = Float32(), Float16(), Int8()
FORMATS: tuple[RowFormat, ...] = (FP32, FP16, INT8)
"""From the largest rows to the smallest."""
FORMATS_BY_NAME: Mapping[str, RowFormat] = {each.name: each for each in FORMATS}
