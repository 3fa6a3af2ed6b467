"""Products of bytes: the operand quantized as ONNX's DynamicQuantizeLinear says, the weights stored as signed bytes.

    y = (q - zero) @ w * (scale * weight_scales) + b          x ~ (q - zero) * scale

The sum of the products of bytes is exact; all that is rounded on the way is the operand, once.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from hugectr2onnx.errors import ShapeError
from hugectr2onnx.ir.op import Emitter, Op
from hugectr2onnx.ir.types import Array, DType, TensorType, f32

HIGHEST = 255


@dataclass(frozen=True)
class DynamicQuantize(Op):
    """A float tensor as bytes, with the scale and the zero of the whole tensor (ONNX, DynamicQuantizeLinear).

    f32[...] -> (q u8[...], scale f32[], zero u8[]). With low and high the least and the largest of all numbers and 0:

    `scale = (high - low) / 255; zero = round(-low / scale); q = min(max(round(x / scale) + zero, 0), 255)`

    Ties round to even. A tensor of zeros has the scale 1.
    """

    def infer(self, x: TensorType) -> tuple[TensorType, ...]:
        if x.dtype is not DType.F32:
            raise ShapeError(f"{self.mnemonic} of {x}: only f32 is quantized")
        return TensorType(DType.U8, x.shape), f32(), TensorType(DType.U8, ())

    def evaluate(self, x: Array) -> tuple[Array, ...]:
        low, high = (x.dtype.type(each) for each in (x.min(initial=0), x.max(initial=0)))
        scale = (high - low) / x.dtype.type(HIGHEST) or x.dtype.type(1)
        zero = np.clip(np.rint(-low / scale), 0, HIGHEST)
        q = np.clip(np.rint(x / scale) + zero, 0, HIGHEST)
        return np.nan_to_num(q).astype(np.uint8), np.asarray(scale), np.asarray(np.nan_to_num(zero).astype(np.uint8))

    def emit(self, out: Emitter, x: str) -> tuple[str, ...]:
        return tuple(out.nodes("DynamicQuantizeLinear", x, outputs=3))


@dataclass(frozen=True)
class QuantizedLinear(Op):
    """`activation((q - zero) @ w * (scale * weight_scales) + b)` for the results of a DynamicQuantize.

    q is u8[..., k], w i8[k, n], weight_scales and b f32[n]. onnxruntime makes one operator of the nodes when it opens the
    model: DynamicQuantizeMatMul where nothing else reads q, MatMulIntegerToFloat otherwise.
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
        scalars_fit = scale.shape == zero.shape == ()
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
        y = out.node("Mul", total, out.node("Mul", scale, weight_scales))
        if out.array(b).any():
            y = out.node("Add", y, b)
        if self.activation is None:
            return y
        result = self.activation.emit(out, y)
        assert isinstance(result, str)
        return result
