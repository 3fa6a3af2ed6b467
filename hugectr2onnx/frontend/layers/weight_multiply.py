"""A trained vector for every feature."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from hugectr2onnx.errors import GraphJsonError, ShapeError
from hugectr2onnx.frontend.layers.inner_product import width
from hugectr2onnx.frontend.layers.layer import Layer, Weight, param
from hugectr2onnx.ir.graph import Value
from hugectr2onnx.ir.ops.shape import Reshape
from hugectr2onnx.ir.types import TensorType


@dataclass(frozen=True)
class WeightMultiplyLayer(Layer, types=("WeightMultiply", "Multiply")):
    """Every feature times its own vector: `y[i*V + j] = x[i] * weight[i, j]`.

    `[B, S] -> [B, S*V]`; v2.1 to v2.3 call it Multiply (layers 3.5).
    """

    weight_dims: tuple[int, ...] = param("weight_dims")

    def __post_init__(self) -> None:
        if len(self.weight_dims) != 2 or min(self.weight_dims) < 1:
            raise GraphJsonError(
                f"weight_dims: expected two lengths, each at least 1, found {list(self.weight_dims[:8])}"
            )

    def weights(self, x: TensorType) -> Iterator[Weight]:
        if width(x, 2) != self.weight_dims[0]:
            raise ShapeError(f"weight_dims says {self.weight_dims[0]} features, and the bottom is {x}")
        yield Weight("weight", self.weight_dims)

    def build(self, x: Value, weight: Value) -> Value:
        batch, (features, length) = x.shape[0], self.weight_dims
        vectors = Reshape((batch, features, 1))(x) * weight
        return Reshape((batch, features * length))(vectors)
