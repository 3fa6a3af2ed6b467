"""Products of bytes: the operand quantized as a whole or row by row, the weights stored as signed bytes.

    y = (q - zero) @ w * (scale * weight_scales) + b          x ~ (q - zero) * scale

The sum of the products of bytes is exact; all that is rounded on the way is the operand, once.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from hugectr2onnx.errors import ShapeError
from hugectr2onnx.ir.op import Emitter, Op
from hugectr2onnx.ir.ops.reduce import max_of_rows
from hugectr2onnx.ir.types import Array, DType, TensorType, f32

HIGHEST = 255
MIDDLE = 128
"""The zero of a row whose numbers have both signs."""
LARGEST_SIGNED = HIGHEST - MIDDLE
SMALLEST_SCALE = float(np.finfo(np.float32).tiny)


@dataclass(frozen=True)
class Quantize(Op):
    """A float tensor as bytes, with scale and zero. A subclass says where both come from."""

    def infer(self, x: TensorType) -> tuple[TensorType, ...]:
        if x.dtype is not DType.F32 or not x.rank:
            raise ShapeError(f"{self.mnemonic} of {x}: only f32 of one dimension and more is quantized")
        return TensorType(DType.U8, x.shape), self.scale_type(x), TensorType(DType.U8, ())

    def scale_type(self, x: TensorType) -> TensorType:
        """Return the type of the scale."""
        raise NotImplementedError

    def grid(self, x: Array) -> tuple[Array, Array]:
        """Return the scale, and the zero before it is rounded, in the precision of x."""
        raise NotImplementedError

    def evaluate(self, x: Array) -> tuple[Array, ...]:
        scale, exact_zero = self.grid(x)
        zero = np.nan_to_num(np.clip(np.rint(exact_zero), 0, HIGHEST))
        q = np.clip(np.rint(x / scale) + zero, 0, HIGHEST)
        return np.nan_to_num(q).astype(np.uint8), scale, np.asarray(zero.astype(np.uint8))


@dataclass(frozen=True)
class DynamicQuantize(Quantize):
    """A float tensor as bytes, with the scale and the zero of the whole tensor (ONNX, DynamicQuantizeLinear).

    f32[...] -> (q u8[...], scale f32[], zero u8[]). With low and high the least and the largest of all numbers and 0:

    `scale = (high - low) / 255; zero = round(-low / scale); q = min(max(round(x / scale) + zero, 0), 255)`

    Ties round to even. A tensor of zeros has the scale 1.
    """

    def scale_type(self, x: TensorType) -> TensorType:
        return f32()

    def grid(self, x: Array) -> tuple[Array, Array]:
        low, high = (x.dtype.type(each) for each in (x.min(initial=0), x.max(initial=0)))
        scale = (high - low) / x.dtype.type(HIGHEST) or x.dtype.type(1)
        return np.asarray(scale), np.asarray(-low / scale)

    def emit(self, out: Emitter, x: str) -> tuple[str, ...]:
        return tuple(out.nodes("DynamicQuantizeLinear", x, outputs=3))


@dataclass(frozen=True)
class RowQuantize(Quantize):
    """Each row of a float tensor as bytes, with a scale of its own: no row depends on another.

    f32[..., k] -> (q u8[..., k], scale f32[..., 1], zero u8[]). With high the largest size of the numbers of a row:

    `scale = max(high / steps, tiny); q = min(max(round(x / scale) + zero, 0), 255)`

    steps and zero are 127 and 128; 255 and 0 where no number is negative. Ties round to even; tiny is the smallest normal
    number of float32. A row that holds NaN or an infinity has the scale NaN, and so has every product of it.
    """

    nonnegative: bool = False

    @property
    def steps(self) -> int:
        return HIGHEST if self.nonnegative else LARGEST_SIGNED

    @property
    def zero(self) -> int:
        return HIGHEST - self.steps

    def scale_type(self, x: TensorType) -> TensorType:
        return f32(*x.shape[:-1], 1)

    def grid(self, x: Array) -> tuple[Array, Array]:
        high = np.abs(x).max(axis=-1, keepdims=True, initial=0)
        scale = np.maximum(high / x.dtype.type(self.steps), x.dtype.type(SMALLEST_SCALE))
        return np.where(np.isfinite(high), scale, x.dtype.type(np.nan)), np.asarray(x.dtype.type(self.zero))

    def emit(self, out: Emitter, x: str) -> tuple[str, ...]:
        high = max_of_rows(out, x if self.nonnegative else out.node("Abs", x))
        scale = out.node("Max", out.node("Div", high, out.const(self.steps)), out.const(SMALLEST_SCALE))
        zero = out.const(self.zero, "u8")
        divided = out.node("Div", x, scale)
        # ReduceMax overlooks NaN, and a byte cannot hold it. A sum of numbers up to `steps` is finite unless the row holds one.
        total = out.node("ReduceSum", divided, out.const([-1], "i64"), keepdims=1)
        kept = out.node("Add", scale, out.node("Mul", total, out.const(0.0)))
        return out.node("QuantizeLinear", divided, out.const(1.0), zero), kept, zero


@dataclass(frozen=True)
class QuantizedLinear(Op):
    """`activation((q - zero) @ w * (scale * weight_scales) + b)` for the results of a DynamicQuantize or a RowQuantize.

    q is u8[..., k], w i8[k, n], weight_scales and b f32[n]. With one scale for the whole tensor onnxruntime makes one
    operator of the nodes when it opens the model: DynamicQuantizeMatMul where nothing else reads q, MatMulIntegerToFloat
    otherwise.
    """

    activation: Op | None = None

    def infer(
        self,
        q: TensorType,
        scale: TensorType,
        zero: TensorType,
        w: TensorType,
        weight_scales: TensorType,
        b: TensorType,
    ) -> TensorType:
        bytes_fit = q.dtype is DType.U8 and w.dtype is DType.I8 and zero.dtype is DType.U8
        scalars_fit = zero.shape == () and scale.shape in ((), (*q.shape[:-1], 1))
        if not bytes_fit or not scalars_fit or q.rank < 2 or w.rank != 2 or q.shape[-1] != w.shape[0]:
            raise ShapeError(f"{self.mnemonic} of {q} and {w}, with the scale {scale} and the zero {zero}")
        if weight_scales.shape != w.shape[1:] or b.shape != w.shape[1:]:
            raise ShapeError(
                f"{self.mnemonic} of {q} and {w}: scales {weight_scales} and bias {b} must be as long as rows"
            )
        return TensorType(DType.F32, (*q.shape[:-1], w.shape[1]))

    def evaluate(self, q: Array, scale: Array, zero: Array, w: Array, weight_scales: Array, b: Array) -> Array:
        # In float64 sums of products of bytes are exact, and by far faster than in integers.
        total = (q.astype(np.float64) - zero) @ w.astype(np.float64)
        y = np.asarray(total.astype(scale.dtype) * (scale * weight_scales) + b)
        return np.asarray(self.activation.evaluate(y)) if self.activation else y

    def emit(self, out: Emitter, q: str, scale: str, zero: str, w: str, weight_scales: str, b: str) -> str:
        total = out.node("Cast", out.node("MatMulInteger", q, w, zero), to=DType.F32)
        if out.type(scale).rank:
            # Not the product of both scales: onnxruntime makes one operator of that too, and then scales the bias by row.
            y = out.node("Mul", out.node("Mul", total, weight_scales), scale)
        else:
            y = out.node("Mul", total, out.node("Mul", scale, weight_scales))
        if out.array(b).any():
            y = out.node("Add", y, b)
        if self.activation is None:
            return y
        result = self.activation.emit(out, y)
        assert isinstance(result, str)
        return result
