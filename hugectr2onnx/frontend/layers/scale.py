"""Scale."""

from __future__ import annotations

from dataclasses import dataclass

from hugectr2onnx.errors import GraphJsonError, ShapeError
from hugectr2onnx.frontend.layers.layer import Layer, param
from hugectr2onnx.ir.graph import Value
from hugectr2onnx.ir.ops.shape import Repeat

MOST_REPEATS = 1 << 16
"""How often a number comes from a JSON file; DIN repeats 36 times."""


@dataclass(frozen=True)
class ScaleLayer(Layer, types=("Scale",)):
    """Repeats, despite its name: each element along the row with axis 0, each row with axis 1 (layers 3.25).

    [B, n] -> [B, n * f] with axis 0, [B * f, n] with axis 1; f is `factor` without its fraction. With any other axis HugeCTR
    writes out of bounds.
    """

    versions = ">= v3.1"
    axis: int = param("scale_param.axis", default=1)
    factor: float = param("scale_param.factor", default=1.0)

    def build(self, x: Value) -> Value:
        if x.type.rank != 2:
            raise ShapeError(f"Scale takes [B, n], not {x.type}")
        if self.axis not in (0, 1):
            raise GraphJsonError(f"Scale has axis {self.axis}: HugeCTR writes out of bounds with any but 0 and 1")
        if not 1 <= self.factor < MOST_REPEATS + 1:
            raise GraphJsonError(f"Scale has a factor of {self.factor}: it repeats 1 to {MOST_REPEATS} times")
        return Repeat(1 if self.axis == 0 else 0, int(self.factor))(x)
