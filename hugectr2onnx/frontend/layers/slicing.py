"""Slice."""

from __future__ import annotations

from dataclasses import dataclass

from hugectr2onnx.errors import GraphJsonError
from hugectr2onnx.frontend.layers.layer import Layer, param
from hugectr2onnx.ir.graph import Value
from hugectr2onnx.ir.ops.shape import Slice as SliceOp


@dataclass(frozen=True)
class Slice(Layer, types=("Slice",)):
    """top[i] = bottom[..., start_i:end_i] for `ranges` [start, end), one a top, on the last axis (layers 3.22).

    Ranges may overlap or be the same, but neither starts nor ends may decrease.
    """

    tops = (1, 1 << 30)
    ranges: tuple[tuple[int, int], ...] = param("ranges")
    top_names: tuple[str, ...] = param("top", default=())

    def build(self, x: Value) -> tuple[Value, ...]:
        if not self.ranges or len(self.top_names or self.ranges) != len(self.ranges):
            raise GraphJsonError(f"Slice has {len(self.ranges)} ranges for {len(self.top_names) or 'its'} tops")
        starts, ends = zip(*self.ranges, strict=True)
        if list(starts) != sorted(starts) or list(ends) != sorted(ends):
            raise GraphJsonError(f"the ranges {[list(pair) for pair in self.ranges]} of a Slice must not go backwards")
        return tuple(SliceOp(x.type.rank - 1, start, end)(x) for start, end in self.ranges)
