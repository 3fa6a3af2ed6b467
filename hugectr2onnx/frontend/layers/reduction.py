"""Sums and means along one axis, which stays with length 1."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from hugectr2onnx.errors import ShapeError
from hugectr2onnx.frontend.layers.layer import Layer, param
from hugectr2onnx.ir.graph import Value
from hugectr2onnx.ir.ops import reduce
from hugectr2onnx.ir.types import TensorType


@dataclass(frozen=True)
class Reduction(Layer):
    """Along one axis of a bottom of 1 to 3 dimensions."""

    axis: int = param("axis", default=1, minimum=0)

    def caveats(self, *bottoms: TensorType) -> Iterator[str]:
        if self.axis == 0:
            yield "axis 0 is the batch: the result mixes the samples of a batch, as it does in HugeCTR"


@dataclass(frozen=True)
class ReduceSumLayer(Reduction, types=("ReduceSum",)):
    """The sum along `axis`, which stays with length 1; 1 to 3 dimensions (layers 3.11)."""

    def build(self, x: Value) -> Value:
        _require_few_dimensions(x)
        return reduce.ReduceSum(self.axis)(x)


@dataclass(frozen=True)
class ReduceMeanLayer(Reduction, types=("ReduceMean",)):
    """The mean along `axis`, which stays with length 1; 1 to 3 dimensions (layers 3.11)."""

    versions = ">= v3.1"

    def build(self, x: Value) -> Value:
        _require_few_dimensions(x)
        return reduce.ReduceMean(self.axis)(x)


def _require_few_dimensions(x: Value) -> None:
    # HugeCTR launches no kernel for 4 dimensions and leaves whatever memory held (layers 3.11).
    if not 1 <= x.type.rank <= 3:
        raise ShapeError(f"the bottom {x!r} has {x.type.rank} dimensions, and HugeCTR reduces 1 to 3")
