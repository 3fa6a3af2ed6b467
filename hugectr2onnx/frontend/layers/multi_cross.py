"""The cross network of DCN and DCN v2."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from hugectr2onnx.errors import GraphJsonError
from hugectr2onnx.frontend.layers.inner_product import width
from hugectr2onnx.frontend.layers.layer import Layer, Weight, param
from hugectr2onnx.ir.graph import Value
from hugectr2onnx.ir.ops.cross import CrossNetwork, LowRankCrossNetwork
from hugectr2onnx.ir.types import TensorType

_MAX_CROSS_LAYERS = 1024
"""Far beyond any cross network; each layer costs nodes whether or not the dense file holds its weights."""


@dataclass(frozen=True)
class MultiCrossLayer(Layer, types=("MultiCross",)):
    """Cross network: v1 `x0 * (x @ w) + b + x`, v2 `x0 * (x @ U @ V + b) + x`.

    `[B, n] -> [B, n]`, layer after layer, x0 being the bottom. A projection_dim above 0 makes it v2 (since v4.3), and
    graph_to_json does not write it: it follows from the size of the dense file or comes from layer_attrs (layers 3.4).
    """

    num_layers: int = param("mc_param.num_layers", minimum=1)
    projection_dim: int = param("mc_param.projection_dim", default=0, minimum=0)

    def __post_init__(self) -> None:
        if self.num_layers > _MAX_CROSS_LAYERS:
            raise GraphJsonError(f"mc_param.num_layers: expected at most {_MAX_CROSS_LAYERS}, found {self.num_layers}")

    def weights(self, x: TensorType) -> Iterator[Weight]:
        n, p = width(x, 2), self.projection_dim
        for index in range(self.num_layers):
            if p:
                yield Weight(f"U{index}", (n, p))
                yield Weight(f"V{index}", (p, n))
            else:
                yield Weight(f"weight{index}", (n, 1))
            yield Weight(f"bias{index}", (n,))

    def build(self, x: Value, *weights: Value) -> Value:
        return LowRankCrossNetwork()(x, *weights) if self.projection_dim else CrossNetwork()(x, *weights)
