"""Fully connected layers, alone and fused with their activation."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from hugectr2onnx.errors import GraphJsonError, ShapeError
from hugectr2onnx.frontend.layers.layer import Layer, Weight, param
from hugectr2onnx.ir.graph import Value
from hugectr2onnx.ir.ops.elementwise import Relu
from hugectr2onnx.ir.types import TensorType

FUSED_ACTIVATIONS = ("Relu", "None")
POSITIONS = ("None", "Head", "Body", "Tail", "Isolated")


def width(x: TensorType, *ranks: int) -> int:
    """Return the last dimension of a bottom that has one of these ranks; raises ShapeError where it has not."""
    if x.rank not in ranks:
        raise ShapeError(f"the bottom {x} has {x.rank} dimensions, and the layer takes {' or '.join(map(str, ranks))}")
    last = x.shape[-1]
    if not isinstance(last, int):
        raise ShapeError(f"the last dimension of the bottom {x} carries the batch, and the layer needs a fixed width")
    return last


@dataclass(frozen=True)
class InnerProductLayer(Layer, types=("InnerProduct",)):
    """Fully connected: `x @ weight + bias` on the last axis.

    `[B, k] -> [B, n]`, and since v3.8 `[B, s, k] -> [B, s, n]`; the bias is always there (layers 3.1).
    """

    num_output: int = param("fc_param.num_output", minimum=1)

    def weights(self, x: TensorType) -> Iterator[Weight]:
        yield Weight("weight", (width(x, 2, 3), self.num_output))
        yield Weight("bias", (self.num_output,))

    def build(self, x: Value, weight: Value, bias: Value) -> Value:
        return x @ weight + bias


@dataclass(frozen=True)
class FusedInnerProductLayer(Layer, types=("FusedInnerProduct",)):
    """Fully connected with its activation: `relu(x @ weight + bias)`.

    `[B, k] -> [B, n]`. The activation may be left out at any position but None, where it is always ReLU. The second to
    fourth bottoms and tops are training buffers (layers 3.2).
    """

    bottoms = (1, 4)
    tops = (1, 4)
    reads = 1
    versions = "<= v23.09 (mixed precision only)"

    num_output: int = param("fc_param.num_output", minimum=1)
    position: str = param("position", default="None")
    activation: str = param("activation", default="Relu")

    def __post_init__(self) -> None:
        if self.position not in POSITIONS:
            raise GraphJsonError(f'position: expected one of {", ".join(POSITIONS)}, found "{self.position}"')
        if self.activation not in FUSED_ACTIVATIONS:
            raise GraphJsonError(f'activation: expected Relu or None, found "{self.activation}"')

    def weights(self, x: TensorType) -> Iterator[Weight]:
        yield Weight("weight", (width(x, 2), self.num_output))
        yield Weight("bias", (self.num_output,))

    def build(self, x: Value, weight: Value, bias: Value) -> Value:
        linear = x @ weight + bias
        rectified = self.position == "None" or self.activation == "Relu"
        return Relu()(linear) if rectified else linear
