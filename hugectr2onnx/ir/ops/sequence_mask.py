"""Masks from sequence lengths."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TypeVar

import numpy as np

from hugectr2onnx.errors import ShapeError
from hugectr2onnx.ir.op import Emitter, Op
from hugectr2onnx.ir.ops.attention import DROPPED
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
        return out.node("Cast", self.emit_kept(out, *lengths), to=DType.F32)

    def emit_kept(self, out: Emitter, *lengths: str) -> str:
        """Write the mask as booleans."""
        within = [self._emit_within(out, length, steps) for length, steps in self._governed(lengths)]
        return out.node("And", *within) if len(within) == 2 else within[0]

    def _emit_within(self, out: Emitter, length: str, steps: Array) -> str:
        column = Reshape((out.type(length).shape[0], 1, 1, 1)).emit(out, length)
        return out.node("GreaterOrEqual", column, out.const(steps))

    def _governed(self, lengths: tuple[T, ...]) -> list[tuple[T, Array]]:
        """Return each operand with the length that every position of its axis needs."""
        before = np.arange(1, self.from_steps + 1, dtype=np.float32).reshape(-1, 1)
        after = np.arange(1, self.to_steps + 1, dtype=np.float32)
        return list(zip(lengths, [before, after][-len(lengths) :], strict=True))


LARGEST_TABLE = 1 << 16
"""Numbers in a table of all the biases that a length can mean."""
_ONNX_INT32 = 6
"""ONNX' number for it: onnxruntime sums it faster than int64."""


@dataclass(frozen=True)
class SequenceBias(Op):
    """The bias that a masked softmax adds for a SequenceMask, `(mask - 1) * 10000`: [B, 1, from_steps, to_steps].

    Rows that the mask drops as a whole lose 10000 too: that rounds their scores as HugeCTR does (`attention.drop`).
    Operands and steps are those of SequenceMask.
    """

    from_steps: int
    to_steps: int

    def infer(self, *lengths: TensorType) -> TensorType:
        return self._mask().infer(*lengths)

    def evaluate(self, *lengths: Array) -> Array:
        mask = self._mask().evaluate(*lengths)
        return np.asarray((mask - 1) * mask.dtype.type(DROPPED))

    def emit(self, out: Emitter, *lengths: str) -> str:
        steps = max(self.from_steps, self.to_steps) if len(lengths) == 2 else self.to_steps
        if len(set(lengths)) == 1 and (steps + 1) * self.from_steps * self.to_steps <= LARGEST_TABLE:
            return self._emit_gather(out, lengths, steps)
        return out.node("Where", self._mask().emit_kept(out, *lengths), out.const(0.0), out.const(-DROPPED))

    def _emit_gather(self, out: Emitter, lengths: tuple[str, ...], steps: int) -> str:
        """Return one length alone decides: its steps are counted, so that no number is cast, and its bias is taken whole."""
        counts = np.arange(steps + 1, dtype=np.float32).reshape(-1, 1)
        biases = self.evaluate(*(counts for _ in lengths))
        within = out.node("GreaterOrEqual", lengths[0], out.const(counts[1:, 0]))
        count = out.node("ReduceSum", out.node("Cast", within, to=_ONNX_INT32), out.const([1], "i64"), keepdims=0)
        return out.node("Gather", out.const(biases), count, axis=0)

    def _mask(self) -> SequenceMask:
        return SequenceMask(self.from_steps, self.to_steps)


@dataclass(frozen=True)
class SequenceSides(Op):
    """Columns of the positions of a sequence, so that a product of them is a SequenceBias: [B, steps, columns].

    A position within the sequence, of the length [B, 1], has the columns (1, 0), one behind it (0, 1). With `every_query` a
    query keeps the same positions wherever it lies itself, and they are (1, 0) and (1, 1). `ones` puts a column of ones in
    front, for what a query adds to all of its scores. `drops` says what the columns of two positions make of one another.
    """

    steps: int
    every_query: bool = False
    ones: bool = False

    @property
    def columns(self) -> int:
        """How many columns a position has."""
        return len(self._values()[0])

    @property
    def dropping(self) -> int:
        """How many of a key's columns make the bias: the last ones."""
        return 1 if self.every_query else 2

    @property
    def has_ones(self) -> bool:
        """Whether the first column is 1 throughout."""
        return self.ones or self.every_query

    @property
    def drops(self) -> Array:
        """[columns, columns]: what a query's column adds to the score by a key's column."""
        table = np.zeros((self.columns, self.columns))
        if self.every_query:
            table[0, -1] = -DROPPED
        else:
            table[-2:, -2:] = [[0, -DROPPED], [-DROPPED, -DROPPED]]
        return table

    def infer(self, length: TensorType) -> TensorType:
        SequenceMask(1, self.steps).infer(length)
        return length.with_shape(length.shape[0], self.steps, self.columns)

    def evaluate(self, length: Array) -> Array:
        reached = np.reshape(length, (-1, 1)) >= self._needed()
        return np.where(reached, *self._tiled()).reshape(-1, self.steps, self.columns).astype(length.dtype)

    def emit(self, out: Emitter, length: str) -> str:
        reached = out.node("GreaterOrEqual", length, out.const(self._needed()))
        sides = out.node("Where", reached, *map(out.const, self._tiled()))
        return Reshape((out.type(length).shape[0], self.steps, self.columns)).emit(out, sides)

    def _needed(self) -> Array:
        """Return the length from which on a position lies within the sequence, column by column."""
        return np.repeat(np.arange(1, self.steps + 1, dtype=np.float32), self.columns)

    def _values(self) -> tuple[list[float], list[float]]:
        """Return the columns within the sequence, and behind it."""
        before = [1.0] * (self.ones and not self.every_query)
        return [*before, 1.0, 0.0], [*before, float(self.every_query), 1.0]

    def _tiled(self) -> Iterator[Array]:
        return (np.tile(np.array(values, np.float32), self.steps) for values in self._values())
