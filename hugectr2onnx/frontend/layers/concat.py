"""Concat."""

from __future__ import annotations

from dataclasses import dataclass

from hugectr2onnx.errors import GraphJsonError, ShapeError
from hugectr2onnx.frontend.layers.layer import Layer, param
from hugectr2onnx.ir.graph import Value
from hugectr2onnx.ir.ops.shape import Concat


@dataclass(frozen=True)
class ConcatLayer(Layer, types=("Concat",)):
    """The bottoms side by side: 2D always along axis 1, 3D along `axis` 1 or 2 (layers 3.23)."""

    bottoms = (1, 1 << 30)
    axis: int = param("axis", default=1)

    def build(self, *xs: Value) -> Value:
        ranks = {x.type.rank for x in xs}
        if ranks == {2}:
            return Concat(1)(*xs)
        if ranks != {3}:
            raise ShapeError(f"Concat takes bottoms all 2D or all 3D, not {', '.join(str(x.type) for x in xs)}")
        if self.axis not in (1, 2):
            raise GraphJsonError(f"Concat of 3D bottoms has axis {self.axis}, and only 1 and 2 are possible")
        return Concat(self.axis)(*xs)
