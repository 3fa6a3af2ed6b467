"""Reductions and softmax."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from hugectr2onnx.errors import ShapeError
from hugectr2onnx.ir.op import Emitter, Op
from hugectr2onnx.ir.types import Array, TensorType


@dataclass(frozen=True)
class Reduce(Op):
    """Along one axis, which stays with length 1 or goes."""

    axis: int
    keepdims: bool = True

    def infer(self, x: TensorType) -> TensorType:
        if not 0 <= self.axis < x.rank:
            raise ShapeError(f"{x} has no axis {self.axis} to reduce")
        return x.with_shape(*x.shape[: self.axis], *((1,) if self.keepdims else ()), *x.shape[self.axis + 1 :])


@dataclass(frozen=True)
class ReduceSum(Reduce):
    """The sum along one axis."""

    def evaluate(self, x: Array) -> Array:
        return np.asarray(x.sum(self.axis, keepdims=self.keepdims))

    def emit(self, out: Emitter, x: str) -> str:
        return out.node("ReduceSum", x, out.const([self.axis], "i64"), keepdims=int(self.keepdims))


@dataclass(frozen=True)
class ReduceMean(Reduce):
    """The mean along one axis."""

    def evaluate(self, x: Array) -> Array:
        return np.asarray(x.mean(self.axis, keepdims=self.keepdims))

    def emit(self, out: Emitter, x: str) -> str:
        return emit_mean(out, x, self.axis, self.keepdims)


def emit_mean(out: Emitter, x: str, axis: int, keepdims: bool = True) -> str:
    """ReduceMean, whose axes became an input in opset 18."""
    if out.opset < 18:
        return out.node("ReduceMean", x, axes=[axis], keepdims=int(keepdims))
    return out.node("ReduceMean", x, out.const([axis], "i64"), keepdims=int(keepdims))


@dataclass(frozen=True)
class Softmax(Op):
    """exp(x) / sum(exp(x)) along the last axis, with the maximum taken off first."""

    def infer(self, x: TensorType) -> TensorType:
        if x.rank < 1:
            raise ShapeError(f"{x} has no axis for softmax")
        return x

    def evaluate(self, x: Array) -> Array:
        raised = np.exp(x - x.max(-1, keepdims=True))
        return np.asarray(raised / raised.sum(-1, keepdims=True))

    def emit(self, out: Emitter, x: str) -> str:
        return out.node("Softmax", x, axis=-1)


@dataclass(frozen=True)
class ProductsOfRows(Op):
    """For each of the tuples the product of those rows, element by element: [n, N] -> [tuples, N]. All are of one length."""

    rows: tuple[tuple[int, ...], ...]

    def infer(self, x: TensorType) -> TensorType:
        count, lengths = x.shape[0] if x.rank == 2 else None, {len(each) for each in self.rows}
        if len(lengths) != 1 or lengths == {0} or not isinstance(count, int):
            raise ShapeError(f"{x} has no products of the rows {list(self.rows)}")
        if any(not 0 <= row < count for each in self.rows for row in each):
            raise ShapeError(f"{x} lacks some of the rows {list(self.rows)}")
        return x.with_shape(len(self.rows), x.shape[1])

    def evaluate(self, x: Array) -> Array:
        return np.asarray(x[np.array(self.rows)].prod(1))

    def emit(self, out: Emitter, x: str) -> str:
        factors = out.node("Gather", x, out.const(np.array(self.rows).T, "i64"), axis=0)
        # Its axes became an input in opset 18.
        if out.opset < 18:
            return out.node("ReduceProd", factors, axes=[0], keepdims=0)
        return out.node("ReduceProd", factors, out.const([0], "i64"), keepdims=0)


def max_of_rows(out: Emitter, x: str) -> str:
    """Write ReduceMax along the last axis, [..., 1]; its axes became an input in opset 18."""
    if out.opset < 18:
        return out.node("ReduceMax", x, axes=[-1], keepdims=1)
    return out.node("ReduceMax", x, out.const([-1], "i64"), keepdims=1)
