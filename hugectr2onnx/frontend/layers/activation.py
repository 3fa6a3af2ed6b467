"""Activations without weights, for tensors of any rank."""

from __future__ import annotations

from dataclasses import dataclass

from hugectr2onnx.frontend.layers.layer import Layer, param
from hugectr2onnx.ir.graph import Value
from hugectr2onnx.ir.ops import elementwise


@dataclass(frozen=True)
class ReLULayer(Layer, types=("ReLU",)):
    """`max(x, 0)` (layers 3.9)."""

    def build(self, x: Value) -> Value:
        return elementwise.Relu()(x)


@dataclass(frozen=True)
class SigmoidLayer(Layer, types=("Sigmoid",)):
    """`1 / (1 + exp(-x))` (layers 3.9)."""

    def build(self, x: Value) -> Value:
        return elementwise.Sigmoid()(x)


@dataclass(frozen=True)
class ELULayer(Layer, types=("ELU",)):
    """`x` where x >= 0, else `alpha * (exp(x) - 1)` (layers 3.9)."""

    alpha: float = param("elu_param.alpha", default=1.0)

    def build(self, x: Value) -> Value:
        return elementwise.Elu(self.alpha)(x)
