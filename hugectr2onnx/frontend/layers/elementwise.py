"""Sums, products and differences of tensors of one shape; HugeCTR never broadcasts."""

from __future__ import annotations

from dataclasses import dataclass
from functools import reduce
from operator import add, mul

from hugectr2onnx.errors import ShapeError
from hugectr2onnx.frontend.layers.layer import Layer
from hugectr2onnx.ir.graph import Value

ANY_NUMBER = 1 << 30


@dataclass(frozen=True)
class AddLayer(Layer, types=("Add",)):
    """`a + b + ...`, all of one shape (layers 3.10)."""

    bottoms = (2, ANY_NUMBER)

    def build(self, *terms: Value) -> Value:
        _require_one_shape(terms)
        return reduce(add, terms)


@dataclass(frozen=True)
class ElementwiseMultiplyLayer(Layer, types=("ElementwiseMultiply", "DotProduct")):
    """`a * b * ...`, all of one shape.

    DotProduct is its older name, whatever that suggests (layers 3.10).
    """

    bottoms = (2, ANY_NUMBER)
    versions = ">= v3.1, as DotProduct v2.2 - v3.1"

    def build(self, *factors: Value) -> Value:
        _require_one_shape(factors)
        return reduce(mul, factors)


@dataclass(frozen=True)
class SubLayer(Layer, types=("Sub",)):
    """`a - b`, both of one shape (layers 3.10)."""

    bottoms = (2, 2)
    versions = ">= v3.1"

    def build(self, a: Value, b: Value) -> Value:
        _require_one_shape((a, b))
        return a - b


def _require_one_shape(bottoms: tuple[Value, ...]) -> None:
    first = bottoms[0]
    for other in bottoms[1:]:
        if other.shape != first.shape:
            raise ShapeError(f"all bottoms must have the same shape, and there are {first!r} and {other!r}")
