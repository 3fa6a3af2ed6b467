"""Matrix products."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from hugectr2onnx.errors import ShapeError
from hugectr2onnx.ir.op import Emitter, Op
from hugectr2onnx.ir.types import Array, TensorType, broadcast


@dataclass(frozen=True)
class MatMul(Op):
    """`a @ b`: matrices in the last two axes, the leading ones broadcast."""

    def infer(self, a: TensorType, b: TensorType) -> TensorType:
        if a.rank < 2 or b.rank < 2 or a.shape[-1] != b.shape[-2]:
            raise ShapeError(f"{a} @ {b}: the last dimension of the left must be the last but one of the right")
        return a.with_shape(*broadcast(a.shape[:-2], b.shape[:-2]), a.shape[-2], b.shape[-1])

    def evaluate(self, a: Array, b: Array) -> Array:
        return np.asarray(a @ b)

    def emit(self, out: Emitter, a: str, b: str) -> str:
        return out.node("MatMul", a, b)


@dataclass(frozen=True)
class Linear(Op):
    """`activation(x @ w + b)` on the last axis: w is [k, n], b is [n]."""

    activation: Op | None = None

    def infer(self, x: TensorType, w: TensorType, b: TensorType) -> TensorType:
        if x.rank < 2 or w.rank != 2 or x.shape[-1] != w.shape[0] or b.shape != w.shape[1:]:
            raise ShapeError(f"linear of {x} with a weight of {w} and a bias of {b}")
        return x.with_shape(*x.shape[:-1], w.shape[1])

    def evaluate(self, x: Array, w: Array, b: Array) -> Array:
        y = np.asarray(x @ w + b)
        return np.asarray(self.activation.evaluate(y)) if self.activation else y

    def emit(self, out: Emitter, x: str, w: str, b: str) -> str:
        y = out.node("Gemm", x, w, b) if out.type(x).rank == 2 else out.node("Add", out.node("MatMul", x, w), b)
        if self.activation is None:
            return y
        result = self.activation.emit(out, y)
        assert isinstance(result, str)
        return result


@dataclass(frozen=True)
class Accumulate(Op):
    """`x @ w + c`: a product of matrices on top of what is there already, one Gemm."""

    def infer(self, x: TensorType, w: TensorType, c: TensorType) -> TensorType:
        product = MatMul().infer(x, w)
        if product.rank != 2 or c != product:
            raise ShapeError(f"{x} @ {w} cannot be added to {c}")
        return product

    def evaluate(self, x: Array, w: Array, c: Array) -> Array:
        return np.asarray(x @ w + c)

    def emit(self, out: Emitter, x: str, w: str, c: str) -> str:
        return out.node("Gemm", x, w, c)


@dataclass(frozen=True)
class TransposedLinear(Op):
    """`w @ x^T + c`: the columns of a linear, each as a row. w is [n, k], x [N, k], and c broadcasts to [n, N]."""

    def infer(self, w: TensorType, x: TensorType, c: TensorType) -> TensorType:
        if w.rank != 2 or x.rank != 2 or c.rank != 2 or w.shape[1] != x.shape[1]:
            raise ShapeError(f"transposed_linear of {w} and {x} with {c}")
        result = x.with_shape(w.shape[0], x.shape[0])
        if broadcast(result.shape, c.shape) != result.shape:
            raise ShapeError(f"{c} does not broadcast to {result}")
        return result

    def evaluate(self, w: Array, x: Array, c: Array) -> Array:
        return np.asarray(w @ x.T + c)

    def emit(self, out: Emitter, w: str, x: str, c: str) -> str:
        return out.node("Gemm", w, x, c, transB=1)
