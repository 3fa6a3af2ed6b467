"""Layer normalization."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from hugectr2onnx.frontend.layers.inner_product import width
from hugectr2onnx.frontend.layers.layer import Layer, Weight, param
from hugectr2onnx.ir.graph import Value
from hugectr2onnx.ir.ops.normalization import LayerNormalization
from hugectr2onnx.ir.types import TensorType


@dataclass(frozen=True)
class LayerNormLayer(Layer, types=("LayerNorm",)):
    """Layer normalization: `gamma * (x - mean(x)) / sqrt(var(x) + eps) + beta` on the last axis.

    2 to 4 dimensions, same shape out; the variance is the biased one (layers 3.7).
    """

    versions = ">= v3.7"

    eps: float = param("ln_param.eps", default=1e-5, minimum=0)

    def weights(self, x: TensorType) -> Iterator[Weight]:
        shape = (width(x, 2, 3, 4),)
        yield Weight("gamma", shape)
        yield Weight("beta", shape)

    def build(self, x: Value, gamma: Value, beta: Value) -> Value:
        return LayerNormalization(self.eps)(x, gamma, beta)
