"""Look-ups on keys in compressed sparse rows: every key is looked up once, then the rows of each slot are added up.

Nothing is padded, and no difference of running sums rounds: a slot of 13 keys is the sum of a block of 8, one of 4 and one of
1, as 13 has these bits, and blocks of one size are gathered and added at once.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from hugectr2onnx.errors import ShapeError
from hugectr2onnx.ir.op import Emitter, Op
from hugectr2onnx.ir.ops.key_maps import is_padding
from hugectr2onnx.ir.ops.pooling import emit_present
from hugectr2onnx.ir.types import Array, DType, N, TensorType, f32
from hugectr2onnx.tables.key_index import MAX_KEY

_TO_THE_END = np.iinfo(np.int64).max


@dataclass(frozen=True)
class FlatKeys(Op):
    """i64[K] -> i64[K, 1, 1]: each key as a sample of one slot, which any look-up takes."""

    exact = True

    def infer(self, keys: TensorType) -> TensorType:
        return keys.with_shape(*keys.shape, 1, 1)

    def evaluate(self, keys: Array) -> Array:
        return keys.reshape(-1, 1, 1)

    def emit(self, out: Emitter, keys: str) -> str:
        return out.node("Reshape", keys, out.const([-1, 1, 1], "i64"))


@dataclass(frozen=True)
class KeySlots(Op):
    """The number of the slot of each key, i64[K, 1, 1], for keys i64[K, 1, 1] and offsets i64[N * slots + 1]."""

    slots: int

    def infer(self, keys: TensorType, offsets: TensorType) -> TensorType:
        return keys

    def evaluate(self, keys: Array, offsets: Array) -> Array:
        return (np.repeat(np.arange(len(offsets) - 1), np.diff(offsets)) % self.slots).reshape(-1, 1, 1)

    def emit(self, out: Emitter, keys: str, offsets: str) -> str:
        starts, ends = _bounds(out, offsets)
        # A running sum of steps, one at the first key of each slot that has any: those of empty slots would fall together.
        filled = out.node("Reshape", out.node("NonZero", out.node("Sub", ends, starts)), out.const([-1], "i64"))
        zero = out.const([0], "i64")
        before = out.node("Slice", out.node("Concat", zero, filled, axis=0), zero, out.const([-1], "i64"), zero)
        steps = out.node("Sub", filled, before)
        nothing = out.node("Mul", out.node("Reshape", keys, out.const([-1], "i64")), zero)
        marked = out.node("ScatterElements", nothing, out.node("Gather", starts, filled, axis=0), steps, axis=0)
        segments = out.node("CumSum", marked, out.const(0, "i64"))
        slots = out.node("Mod", segments, out.const([self.slots], "i64"))
        return out.node("Reshape", slots, out.const([-1, 1, 1], "i64"))


@dataclass(frozen=True)
class MoveKeys(Op):
    """`key + offsets[slot]` for keys and their slots, i64[K, 1, 1] both, saturating at the largest int64.

    Negative keys stay as they are, unless they are keys (`signed`).
    """

    offsets: tuple[int, ...]
    signed: bool = False

    def infer(self, keys: TensorType, slots: TensorType) -> TensorType:
        return keys

    def evaluate(self, keys: Array, slots: Array) -> Array:
        offsets = np.array(self.offsets, np.int64)[slots]
        moved = np.minimum(keys, MAX_KEY - offsets) + offsets
        return moved if self.signed else np.where(keys < 0, keys, moved)

    def emit(self, out: Emitter, keys: str, slots: str) -> str:
        offsets = np.array(self.offsets, np.int64)
        offset = out.node("Gather", out.const(offsets, "i64"), slots, axis=0)
        most = out.node("Gather", out.const(MAX_KEY - offsets, "i64"), slots, axis=0)
        moved = out.node("Add", out.node("Min", keys, most), offset)
        return moved if self.signed else out.node("Where", is_padding(out, keys), keys, moved)


@dataclass(frozen=True)
class PoolSegments(Op):
    """Rows f32[K, 1, vec] of keys i64[K, 1, 1], and offsets i64[N * slots + 1] -> f32[N, taken slots, vec].

    Sums, or with `mean` what is left of them divided by the number of keys that are no padding. `masked`: the rows of padding
    are not zeros and do not count either.
    """

    slots: int
    taken: tuple[int, ...]
    mean: bool = False
    padding_key: int | None = None
    masked: bool = False

    def infer(self, rows: TensorType, keys: TensorType, offsets: TensorType) -> TensorType:
        if rows.rank != 3 or keys.rank != 3 or offsets.rank != 1 or rows.shape[:2] != keys.shape[:2]:
            raise ShapeError(f"rows of {rows} for keys of {keys} and offsets of {offsets}")
        return f32(N, len(self.taken), rows.shape[2])

    def evaluate(self, rows: Array, keys: Array, offsets: Array) -> Array:
        present = keys >= 0 if self.padding_key is None else keys != self.padding_key
        masked = np.where(present, rows, 0) if self.masked else rows
        total = _segment_sums(masked[:, 0], offsets)
        count = np.maximum(_segment_sums(present[:, 0].astype(rows.dtype), offsets), 1)
        pooled = total / count if self.mean else total
        return np.asarray(pooled.reshape(-1, self.slots, rows.shape[2])[:, self.taken])

    def emit(self, out: Emitter, rows: str, keys: str, offsets: str) -> str:
        width = out.type(rows).shape[2]
        assert isinstance(width, int)
        if self.masked:
            present = emit_present(out, keys, self.padding_key)
            rows = out.node("Where", present, rows, out.const([[[0.0]]]))
        bounds = [self._take(out, each) for each in _bounds(out, offsets)]
        total = _emit_sums(out, rows, width, *bounds)
        pooled = out.node("Div", total, self._emit_count(out, keys, *bounds)) if self.mean else total
        return out.node("Reshape", pooled, out.const([-1, len(self.taken), width], "i64"))

    def _take(self, out: Emitter, bound: str) -> str:
        """Of one bound of every slot, those of the slots that are taken."""
        if self.taken == tuple(range(self.slots)):
            return bound
        samples = out.node("Reshape", bound, out.const([-1, self.slots], "i64"))
        taken = out.node("Gather", samples, out.const(self.taken, "i64"), axis=1)
        return out.node("Reshape", taken, out.const([-1], "i64"))

    def _emit_count(self, out: Emitter, keys: str, starts: str, ends: str) -> str:
        """f32[segments, 1]: keys that are no padding, at least 1. A running sum of whole numbers is exact."""
        present = out.node("Cast", emit_present(out, keys, self.padding_key), to=DType.I64)
        flat, zero = out.node("Reshape", present, out.const([-1], "i64")), out.const([0], "i64")
        running = out.node("Concat", zero, out.node("CumSum", flat, out.const(0, "i64")), axis=0)
        upto, before = (out.node("Gather", running, bound, axis=0) for bound in (ends, starts))
        count = out.node("Cast", out.node("Sub", upto, before), to=DType.F32)
        return out.node("Reshape", out.node("Max", count, out.const([1.0])), out.const([-1, 1], "i64"))


def _segment_sums(values: Array, offsets: Array) -> Array:
    sums = np.zeros((len(offsets) - 1, values.shape[1]), values.dtype)
    np.add.at(sums, np.repeat(np.arange(len(sums)), np.diff(offsets)), values)
    return sums


def _bounds(out: Emitter, offsets: str) -> tuple[str, str]:
    """Tell where each segment begins and ends."""
    zero, one, behind = (out.const([each], "i64") for each in (0, 1, _TO_THE_END))
    return out.node("Slice", offsets, zero, out.const([-1], "i64"), zero), out.node("Slice", offsets, one, behind, zero)


def _emit_sums(out: Emitter, rows: str, width: int, starts: str, ends: str) -> str:
    """f32[segments, width]: the blocks of each size are added to the sums in a loop, from size 2 to that of the longest."""
    flat = out.node("Reshape", rows, out.const([-1, width], "i64"))
    table = out.node("Concat", flat, out.const(np.zeros((1, width))), axis=0)
    counts, zero, one, two = out.node("Sub", ends, starts), *(out.const([each], "i64") for each in (0, 1, 2))
    # The block of size 1 is the last key of a segment; segments without one take the row of zeros.
    is_odd = out.node("Equal", out.node("Mod", counts, two), one)
    last = out.node("Where", is_odd, out.node("Sub", ends, one), out.node("Shape", flat, end=1))
    sums = out.node("Gather", table, last, axis=0)
    longest = out.node("ReduceMax", out.node("Concat", counts, zero, axis=0), keepdims=0)

    def add_blocks(carried: Sequence[str]) -> tuple[str, list[str]]:
        size, sums = carried
        twice = out.node("Mul", size, two)
        rest = out.node("Mod", counts, twice)
        chosen = out.node("NonZero", out.node("GreaterOrEqual", rest, size))
        segments = out.node("Reshape", chosen, out.const([-1], "i64"))
        first = out.node("Gather", out.node("Sub", ends, rest), segments, axis=0)
        scalar = [out.const(0, "i64"), out.node("Squeeze", size), out.const(1, "i64")]
        column = out.node("Reshape", out.node("Range", *scalar), out.const([-1, 1], "i64"))
        # onnxruntime sums along the first axis in half the time that one in the middle takes.
        places = out.node("Add", column, first)
        block = out.node("ReduceSum", out.node("Gather", table, places, axis=0), zero, keepdims=0)
        added = out.node("Add", out.node("Gather", sums, segments, axis=0), block)
        updated = out.node("ScatterND", sums, out.node("Transpose", chosen, perm=[1, 0]), added)
        return out.node("LessOrEqual", out.node("Squeeze", twice), longest), [twice, updated]

    starts_at_2 = out.node("GreaterOrEqual", longest, out.const(2, "i64"))
    return out.loop(starts_at_2, [(two, DType.I64), (sums, DType.F32)], add_blocks)[1]
