"""Slice."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from hugectr2onnx.errors import GraphJsonError
from hugectr2onnx.frontend.layers.layer import Layer, param
from hugectr2onnx.ir.graph import Value
from hugectr2onnx.ir.ops.shape import Slice
from hugectr2onnx.ir.ops.structural import Identity
from hugectr2onnx.ir.types import TensorType


@dataclass(frozen=True)
class SliceLayer(Layer, types=("Slice",)):
    """top[i] = bottom[..., start_i:end_i] for `ranges` [start, end), one a top, on the last axis (layers 3.22).

    Ranges may overlap or be the same, but neither starts nor ends may decrease.
    """

    tops = (1, 1 << 30)
    ranges: tuple[tuple[int, int], ...] = param("ranges")
    bottom_names: tuple[str, ...] = param("bottom", default=())
    top_names: tuple[str, ...] = param("top", default=())

    def build(self, x: Value) -> tuple[Value, ...]:
        if not self.ranges or len(self.top_names or self.ranges) != len(self.ranges):
            raise GraphJsonError(f"Slice has {len(self.ranges)} ranges for {len(self.top_names) or 'its'} tops")
        starts, ends = zip(*self.ranges, strict=True)
        if list(starts) != sorted(starts) or list(ends) != sorted(ends):
            raise GraphJsonError(f"the ranges {[list(pair) for pair in self.ranges]} of a Slice must not go backwards")
        if self._copies_too_wide(x.type):
            return tuple(Identity()(x) for _ in self.ranges)
        return tuple(Slice(x.type.rank - 1, start, end)(x) for start, end in self.ranges)

    def _copies_too_wide(self, x: TensorType) -> bool:
        """Tell whether these are copies that HugeCTR inserted (layers 1.3) with a width that its static table got wrong."""
        inserted = tuple(f"{bottom}_slice{i}" for bottom in self.bottom_names for i in range(len(self.ranges)))
        width = x.shape[-1] if x.shape else 0
        copies = len(set(self.ranges)) == 1 and self.ranges[0][0] == 0
        return self.top_names == inserted and copies and isinstance(width, int) and self.ranges[0][1] > width

    def caveats(self, *bottoms: TensorType) -> Iterator[str]:
        if any(map(self._copies_too_wide, bottoms)):
            yield (
                f"the inserted copies say [0, {self.ranges[0][1]}), which is more than {bottoms[0]} has; they are taken as "
                "the whole tensor that HugeCTR meant to copy"
            )
