"""Masks from sequence lengths."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeVar

import numpy as np

from hugectr2onnx.errors import ShapeError
from hugectr2onnx.ir.op import Emitter, Op
from hugectr2onnx.ir.ops.shape import Reshape
from hugectr2onnx.ir.types import Array, DType, TensorType

T = TypeVar("T")


@dataclass(frozen=True)
class SequenceMask(Op):
    """1.0 where a position lies within its sequence, else 0.0 (layers 3.16): [B, 1, from_steps, to_steps].

    One operand, the lengths to [B, 1]: `y[b, 0, 0, t] = t < int(to[b])`, and from_steps is 1. Two operands, the
    lengths from and to: `y[b, 0, f, t] = (f < int(from[b])) and (t < int(to[b]))`.

    `int` truncates toward zero, and `t < int(length)` is the same as `length >= t + 1` for a whole t >= 0: a length
    of 0 or more truncates to its floor, and floor(length) > t means floor(length) >= t + 1, that is length >= t + 1;
    a negative length truncates to 0 or less, and neither side holds. So nothing is cast to an integer, which is
    undefined for NaN (it masks everything here), for infinities and for huge lengths.
    """

    from_steps: int
    to_steps: int

    def infer(self, *lengths: TensorType) -> TensorType:
        last = lengths[-1]
        columns = last.rank == 2 and last.shape[1] == 1 and all(length == last for length in lengths)
        if not columns or not (len(lengths) == 2 or len(lengths) == self.from_steps == 1):
            raise ShapeError(f"sequence lengths must be one or two times [B, 1], not {', '.join(map(str, lengths))}")
        return last.with_shape(last.shape[0], 1, self.from_steps, self.to_steps)

    def evaluate(self, *lengths: Array) -> Array:
        within = [np.reshape(length, (-1, 1, 1, 1)) >= steps for length, steps in self._governed(lengths)]
        return np.logical_and(within[0], within[-1]).astype(lengths[0].dtype)

    def emit(self, out: Emitter, *lengths: str) -> str:
        within = [self._emit_within(out, length, steps) for length, steps in self._governed(lengths)]
        kept = out.node("And", *within) if len(within) == 2 else within[0]
        return out.node("Cast", kept, to=DType.F32)

    def _emit_within(self, out: Emitter, length: str, steps: Array) -> str:
        column = Reshape((out.type(length).shape[0], 1, 1, 1)).emit(out, length)
        return out.node("GreaterOrEqual", column, out.const(steps))

    def _governed(self, lengths: tuple[T, ...]) -> list[tuple[T, Array]]:
        """Each operand with the length that every position of its axis needs."""
        before = np.arange(1, self.from_steps + 1, dtype=np.float32).reshape(-1, 1)
        after = np.arange(1, self.to_steps + 1, dtype=np.float32)
        return list(zip(lengths, [before, after][-len(lengths) :], strict=True))
