"""Normalizations, at evaluation."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from hugectr2onnx.errors import ShapeError
from hugectr2onnx.ir.op import Emitter, Op
from hugectr2onnx.ir.ops.reduce import emit_mean
from hugectr2onnx.ir.types import Array, TensorType


@dataclass(frozen=True)
class BatchNormalization(Op):
    """`(x - mean) / sqrt(var + epsilon) * gamma + beta`, all four being [n] for x of [B, n] (layers 3.6)."""

    epsilon: float

    def infer(self, x: TensorType, *parameters: TensorType) -> TensorType:
        if x.rank != 2 or len(parameters) != 4 or any(p.shape != x.shape[1:] for p in parameters):
            raise ShapeError(f"{self.mnemonic} of {x} with parameters of {', '.join(map(str, parameters))}")
        return x

    def evaluate(self, x: Array, gamma: Array, beta: Array, mean: Array, var: Array) -> Array:
        return np.asarray((x - mean) / np.sqrt(var + x.dtype.type(self.epsilon)) * gamma + beta)

    def emit(self, out: Emitter, x: str, gamma: str, beta: str, mean: str, var: str) -> str:
        # ONNX's own operator lets onnxruntime compute x * a + b, which cancels where the mean is far from 0.
        return _emit_scaled(out, out.node("Sub", x, mean), var, self.epsilon, gamma, beta)


@dataclass(frozen=True)
class LayerNormalization(Op):
    """`(x - mean(x)) / sqrt(mean((x - mean(x))^2) + epsilon) * gamma + beta` along the last axis (layers 3.7)."""

    epsilon: float
    fused: bool = False
    """Whether it is written as ONNX's own operator (opset 17) instead of its expansion."""

    def infer(self, x: TensorType, gamma: TensorType, beta: TensorType) -> TensorType:
        if x.rank < 1 or not gamma.shape == beta.shape == x.shape[-1:]:
            raise ShapeError(f"{self.mnemonic} of {x} with parameters of {gamma}, {beta}")
        return x

    def evaluate(self, x: Array, gamma: Array, beta: Array) -> Array:
        centred = x - x.mean(-1, keepdims=True)
        variance = np.mean(centred * centred, -1, keepdims=True)
        return np.asarray(centred / np.sqrt(variance + x.dtype.type(self.epsilon)) * gamma + beta)

    def emit(self, out: Emitter, x: str, gamma: str, beta: str) -> str:
        if self.fused:
            return out.node("LayerNormalization", x, gamma, beta, axis=-1, epsilon=self.epsilon)
        axis = out.type(x).rank - 1
        centred = out.node("Sub", x, emit_mean(out, x, axis))
        variance = emit_mean(out, out.node("Mul", centred, centred), axis)
        return _emit_scaled(out, centred, variance, self.epsilon, gamma, beta)


@dataclass(frozen=True)
class UnitLength(Op):
    """`x / sqrt(sum(x^2))` along the last axis; zeros stay zeros."""

    def infer(self, x: TensorType) -> TensorType:
        if x.rank < 1:
            raise ShapeError(f"{x} has no axis along which it has a length")
        return x

    def evaluate(self, x: Array) -> Array:
        length = np.sqrt(np.sum(x * x, -1, keepdims=True))
        return np.asarray(x / np.where(length == 0, 1, length))

    def emit(self, out: Emitter, x: str) -> str:
        return out.node("LpNormalization", x, axis=-1, p=2)


def _emit_scaled(out: Emitter, centred: str, variance: str, epsilon: float, gamma: str, beta: str) -> str:
    deviation = out.node("Sqrt", out.node("Add", variance, out.const(epsilon)))
    normal = out.node("Div", centred, deviation)
    return out.node("Add", out.node("Mul", normal, gamma), beta)
