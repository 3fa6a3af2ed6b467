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
