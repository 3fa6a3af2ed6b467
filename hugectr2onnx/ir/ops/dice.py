"""The Dice activation of DIN, with the statistics of the batch or with frozen ones."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from hugectr2onnx.errors import ShapeError
from hugectr2onnx.ir.op import Emitter, Op
from hugectr2onnx.ir.ops.elementwise import Sigmoid
from hugectr2onnx.ir.ops.reduce import emit_mean
from hugectr2onnx.ir.types import Array, TensorType, f32


@dataclass(frozen=True)
class Dice(Op):
    """`p * x + (1 - p) * alpha * x`, where p is the sigmoid of x normalised by the batch itself (layers 3.26).

    `mean = E[x]; var = max(E[x^2] - E[x]^2, 0); p = sigmoid((x - mean) / sqrt(var + eps))` column by column. HugeCTR
    does not keep the variance from falling below 0: there, rounding can turn a constant column into NaN where eps is
    tiny. Its exact value is never below 0, so here it is held at 0.
    """

    alpha: float
    eps: float

    def infer(self, x: TensorType) -> TensorType:
        if x.rank != 2:
            raise ShapeError(f"Dice takes [B, n], not {x}")
        return x

    def evaluate(self, x: Array) -> Array:
        mean = x.mean(0)
        var = np.maximum((x * x).mean(0) - mean * mean, 0)
        return _mix(x, mean, var, self.alpha, self.eps)

    def emit(self, out: Emitter, x: str) -> str:
        mean = emit_mean(out, x, 0)
        var = out.node("Sub", emit_mean(out, out.node("Mul", x, x), 0), out.node("Mul", mean, mean))
        return _emit_mix(out, x, mean, out.node("Max", var, out.const(0.0)), self.alpha, self.eps)


@dataclass(frozen=True)
class FrozenDice(Op):
    """Dice with a mean and a variance given for each column, so that a row no longer depends on its batch.

    x is [B, n], mean and var are [n].
    """

    alpha: float
    eps: float

    def infer(self, x: TensorType, mean: TensorType, var: TensorType) -> TensorType:
        if x.rank != 2 or mean.shape != x.shape[1:] or var.shape != x.shape[1:]:
            raise ShapeError(f"Dice over {x} cannot have a mean of {mean} and a variance of {var}")
        return x

    def evaluate(self, x: Array, mean: Array, var: Array) -> Array:
        return _mix(x, mean, var, self.alpha, self.eps)

    def emit(self, out: Emitter, x: str, mean: str, var: str) -> str:
        return _emit_mix(out, x, mean, var, self.alpha, self.eps)


def _mix(x: Array, mean: Array, var: Array, alpha: float, eps: float) -> Array:
    p = Sigmoid().evaluate((x - mean) / np.sqrt(var + x.dtype.type(eps)))
    return np.asarray(p * x + (1 - p) * x.dtype.type(alpha) * x)


def _emit_mix(out: Emitter, x: str, mean: str, var: str, alpha: float, eps: float) -> str:
    deviation = out.node("Sqrt", out.node("Add", var, out.const(eps)))
    p = out.node("Sigmoid", out.node("Div", out.node("Sub", x, mean), deviation))
    rest = out.node("Mul", out.node("Sub", out.const(1.0), p), out.const(alpha))
    return out.node("Add", out.node("Mul", p, x), out.node("Mul", rest, x))


@dataclass(frozen=True)
class EqualShares(Op):
    """`1 / rows` for each row of x, side by side: x is [B, ...], the result [1, B]. They add up to 1."""

    def infer(self, x: TensorType) -> TensorType:
        if x.rank < 1:
            raise ShapeError(f"{x} has no rows to share among")
        return f32(1, x.shape[0])

    def evaluate(self, x: Array) -> Array:
        return np.full((1, len(x)), 1 / max(len(x), 1))

    def emit(self, out: Emitter, x: str) -> str:
        rows = out.node("Shape", x, start=0, end=1)
        column = out.node("Softmax", out.node("ConstantOfShape", rows), axis=0)
        return out.node("Reshape", column, out.const([1, -1], "i64"))


@dataclass(frozen=True)
class ColumnSum(Op):
    """The sum of the rows of x, each times its share, plus a number: shares are [1, B], x is [B, n], the result is [1, n]."""

    plus: float = 0.0

    def infer(self, shares: TensorType, x: TensorType) -> TensorType:
        if x.rank != 2 or shares.shape != (1, x.shape[0]):
            raise ShapeError(f"{x} cannot be summed with shares of {shares}")
        return x.with_shape(1, x.shape[1])

    def evaluate(self, shares: Array, x: Array) -> Array:
        return np.asarray(shares @ x + x.dtype.type(self.plus))

    def emit(self, out: Emitter, shares: str, x: str) -> str:
        # As a Gemm also without a number: onnxruntime's MatMul takes longer to start.
        return out.node("Gemm", shares, x, *([out.const(self.plus)] if self.plus else []))
