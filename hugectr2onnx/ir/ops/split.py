"""Splitting one tensor into several."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import accumulate

import numpy as np

from hugectr2onnx.errors import ShapeError
from hugectr2onnx.ir.op import Emitter, Op
from hugectr2onnx.ir.types import Array, TensorType


@dataclass(frozen=True)
class Split(Op):
    """Consecutive pieces of one axis, a result each: what several Slices that share nothing and miss nothing give."""

    exact = True
    axis: int
    sizes: tuple[int, ...]

    def infer(self, x: TensorType) -> tuple[TensorType, ...]:
        length = x.shape[self.axis] if 0 <= self.axis < x.rank else None
        if not self.sizes or min(self.sizes) < 1 or length != sum(self.sizes):
            raise ShapeError(f"axis {self.axis} of {x} cannot be split into {list(self.sizes)}")
        before, after = x.shape[: self.axis], x.shape[self.axis + 1 :]
        return tuple(x.with_shape(*before, size, *after) for size in self.sizes)

    def evaluate(self, x: Array) -> tuple[Array, ...]:
        return tuple(np.split(x, list(accumulate(self.sizes))[:-1], self.axis))

    def emit(self, out: Emitter, x: str) -> tuple[str, ...]:
        sizes = out.const(list(self.sizes), "i64")
        return tuple(out.nodes("Split", x, sizes, outputs=len(self.sizes), axis=self.axis))
