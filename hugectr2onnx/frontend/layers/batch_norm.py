"""Batch normalization, at evaluation."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from hugectr2onnx.frontend.layers.inner_product import width
from hugectr2onnx.frontend.layers.layer import Layer, Weight, param
from hugectr2onnx.ir.graph import Value
from hugectr2onnx.ir.ops.normalization import BatchNormalization
from hugectr2onnx.ir.types import TensorType


@dataclass(frozen=True)
class BatchNormLayer(Layer, types=("BatchNorm",)):
    """Batch normalization by running statistics: `gamma * (x - mean) / sqrt(var + eps) + beta`.

    `[B, n] -> [B, n]`; mean and var stand in the ntp file, with 6 decimals (layers 3.6).
    """

    eps: float = param("bn_param.eps", default=1e-5, minimum=0)

    def weights(self, x: TensorType) -> Iterator[Weight]:
        shape = (width(x, 2),)
        yield Weight("gamma", shape)
        yield Weight("beta", shape)
        yield Weight("mean", shape, file="ntp")
        yield Weight("var", shape, file="ntp")

    def build(self, x: Value, gamma: Value, beta: Value, mean: Value, var: Value) -> Value:
        return BatchNormalization(self.eps)(x, gamma, beta, mean, var)
