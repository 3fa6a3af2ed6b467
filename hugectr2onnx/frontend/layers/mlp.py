"""A chain of fully connected layers that HugeCTR trains as one."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise

from hugectr2onnx.errors import GraphJsonError
from hugectr2onnx.frontend.layers.inner_product import FUSED_ACTIVATIONS, width
from hugectr2onnx.frontend.layers.layer import Layer, Weight, param
from hugectr2onnx.ir.graph import Value
from hugectr2onnx.ir.ops.elementwise import Relu
from hugectr2onnx.ir.types import TensorType


@dataclass(frozen=True)
class MLPLayer(Layer, types=("MLP",)):
    """Fully connected layers in a row: `h = act_i(h @ W_i + b_i)`.

    `[B, k] -> [B, num_outputs[-1]]`; the scalar `num_output` beside `num_outputs` means nothing. A sub-layer without a
    bias has one in the dense file all the same. A second bottom is the gradient buffer of a two-top Interaction (layers
    3.3).
    """

    bottoms = (1, 2)
    reads = 1
    versions = ">= v4.2"

    num_outputs: tuple[int, ...] = param("mlp_param.num_outputs")
    use_bias: bool = param("mlp_param.use_bias", default=True)
    biases: tuple[bool, ...] = param("mlp_param.biases", default=())
    activation: str = param("mlp_param.activation", default="Relu")
    activations: tuple[str, ...] = param("mlp_param.activations", default=())

    def __post_init__(self) -> None:
        count = len(self.num_outputs)
        if not count or min(self.num_outputs) < 1:
            raise GraphJsonError("mlp_param.num_outputs: expected the width of every sub-layer, each at least 1")
        for key, given in (("biases", self.biases), ("activations", self.activations)):
            if given and len(given) != count:
                raise GraphJsonError(f"mlp_param.{key}: expected {count} entries as in num_outputs, found {len(given)}")
        unknown = [name for name in (self.activation, *self.activations) if name not in FUSED_ACTIVATIONS]
        if unknown:
            raise GraphJsonError(f'mlp_param: expected the activation Relu or None, found "{unknown[0]}"')

    @property
    def biased(self) -> tuple[bool, ...]:
        """Whether each sub-layer adds its bias."""
        return self.biases or (self.use_bias,) * len(self.num_outputs)

    @property
    def rectified(self) -> tuple[bool, ...]:
        """Whether each sub-layer ends in ReLU."""
        return tuple(name == "Relu" for name in self.activations or (self.activation,) * len(self.num_outputs))

    def weights(self, x: TensorType) -> Iterator[Weight]:
        widths = (width(x, 2), *self.num_outputs)
        for index, (shape, biased) in enumerate(zip(pairwise(widths), self.biased, strict=True)):
            yield Weight(f"weight{index}", shape)
            yield Weight(f"bias{index}", shape[1:], used=biased)

    def build(self, x: Value, *weights: Value) -> Value:
        remaining = iter(weights)
        for biased, rectified in zip(self.biased, self.rectified, strict=True):
            x = x @ next(remaining)
            x = x + next(remaining) if biased else x
            x = Relu()(x) if rectified else x
        return x
