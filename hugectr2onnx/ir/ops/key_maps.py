"""Key maps: ways from a key to its row in ONNX, by an encoder or by its own value (`ir.ops.perfect_hash`: by a hash).

A map gives the row of each key, `missing` for a key that the table lacks, and for padding (negative keys) `missing` too,
or, where padding must be told from missing keys (`apart`), `missing + 1`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from hugectr2onnx.ir.op import Emitter
from hugectr2onnx.ir.types import Array
from hugectr2onnx.tables.key_index import MAX_KEY, MIN_KEY

NO_OFFSETS: tuple[int, ...] = ()


@dataclass(frozen=True)
class KeyMap:
    """One way from key to row. `keys` are i64[N, slot, max_nnz] as they came in, `offsets` what each slot adds to its keys."""

    strategy: ClassVar[str]

    def emit_rows(
        self, out: Emitter, keys: str, offsets: tuple[int, ...], known: Array, rows: Array, missing: int, apart: bool
    ) -> str:
        """`rows[i]` where the key is `known[i]` (each once; 0 and more, for negative keys are padding)."""
        moved = emit_offsets(out, keys, offsets) if any(offsets) else keys
        found = self.emit_found(out, moved, known, rows, missing)
        if not apart:
            return found
        return out.node("Where", is_padding(out, keys), rank3(out, missing + 1), found)

    def emit_found(self, out: Emitter, keys: str, known: Array, rows: Array, missing: int) -> str:
        """Emit the same for keys with their offsets and for any int64; padding is a key like any other that the table lacks."""
        raise NotImplementedError

    def row_type(self, missing: int) -> np.dtype[Any]:
        """Return the integers that `emit_found` gives."""
        return np.dtype(np.int64)


@dataclass(frozen=True, repr=False)
class LabelEncoded(KeyMap):
    """ai.onnx.ml's LabelEncoder: any keys, 16 bytes a key in the model and some 60 in memory."""

    strategy = "label-encoder"

    def emit_found(self, out: Emitter, keys: str, known: Array, rows: Array, missing: int) -> str:
        return emit_map(out, keys, known, rows, missing)

    def __repr__(self) -> str:
        return self.strategy


@dataclass(frozen=True, repr=False)
class Direct(KeyMap):
    """The key itself, less the smallest, bounded on both sides: -1 for what lies below, the width for what lies above.

    `ordered`: the table's rows stand in the order of their keys, so that this is the row. Otherwise a row number for each
    key lies between.
    """

    strategy = "direct"
    low: int
    high: int
    ordered: bool = True

    @property
    def width(self) -> int:
        return self.high - self.low + 1

    def emit_position(self, out: Emitter, keys: str, offsets: tuple[int, ...] = NO_OFFSETS) -> str:
        """-1 to `width`: the last entry of what is gathered from answers for -1, as ONNX counts back from the end.

        A table without offsets takes one Clip, which costs a tenth of what Min and Max do.
        """
        if any(offsets) and self.low == 0 and self.high < MAX_KEY:
            return self._emit_moved(out, keys, offsets)
        moved = emit_offsets(out, keys, offsets) if any(offsets) else keys
        return self._emit_bounded(out, moved)

    def _emit_bounded(self, out: Emitter, moved: str) -> str:
        # At the ends of int64 nothing lies beyond, and the bound is the key itself.
        below, above = max(self.low - 1, MIN_KEY), min(self.high + 1, MAX_KEY)
        bounded = out.node("Clip", moved, out.const(below, "i64"), out.const(above, "i64"))
        return out.node("Sub", bounded, rank3(out, self.low)) if self.low else bounded

    def _emit_moved(self, out: Emitter, keys: str, offsets: tuple[int, ...]) -> str:
        column = np.array(offsets, np.int64).reshape(1, -1, 1)
        bounded = out.node("Min", keys, out.const(self.width - column, "i64"))
        moved = out.node("Add", bounded, out.const(column, "i64"))
        return out.node("Where", is_padding(out, keys), rank3(out, -1), moved)

    def emit_rows(
        self, out: Emitter, keys: str, offsets: tuple[int, ...], known: Array, rows: Array, missing: int, apart: bool
    ) -> str:
        table = np.full(self.width + (2 if apart else 1), missing, self.row_type(missing))
        table[known - self.low] = rows
        table[self.width :] = [missing, missing + 1][: 2 if apart else 1]
        return out.node("Gather", out.stacked("row_of_key", table), self.emit_position(out, keys, offsets), axis=0)

    def emit_found(self, out: Emitter, keys: str, known: Array, rows: Array, missing: int) -> str:
        table = np.full(self.width + 1, missing, self.row_type(missing))
        table[known - self.low] = rows
        return out.node("Gather", out.stacked("row_of_key", table), self._emit_bounded(out, keys), axis=0)

    def emit_any_position(self, out: Emitter, keys: str, *, apart: bool) -> str:
        """Emit the position of any int64 with its offset: `width` or -1 for those outside, with `apart` always `width`."""
        position = self._emit_bounded(out, keys)
        if not apart:
            return position
        below = out.node("Less", keys, rank3(out, self.low))
        return out.node("Where", below, rank3(out, self.width), position)

    def row_type(self, missing: int) -> np.dtype[Any]:
        return np.dtype(np.int32 if missing + 1 < 1 << 31 else np.int64)

    def __repr__(self) -> str:
        return f"direct[{self.low}, {self.high}]{'' if self.ordered else ' through rows'}"


def emit_offsets(out: Emitter, keys: str, offsets: tuple[int, ...]) -> str:
    """`key + offsets[slot]` for keys >= 0, saturating at the largest int64."""
    column = np.array(offsets, np.int64).reshape(1, -1, 1)
    bounded = out.node("Min", keys, out.const(MAX_KEY - column, "i64"))
    moved = out.node("Add", bounded, out.const(column, "i64"))
    return out.node("Where", is_padding(out, keys), keys, moved)


def emit_map(out: Emitter, keys: str, known: Array, values: Array, default: int) -> str:
    """`values[i]` where the key is `known[i]`, else `default`, for any int64 at all, by a LabelEncoder."""
    if len(known) == 0:
        nothing = out.node("Mul", keys, rank3(out, 0))
        return out.node("Add", nothing, rank3(out, default))
    tensors = {"keys_tensor": known, "values_tensor": values.astype(np.int64), "default_tensor": np.array([default])}
    return out.node("LabelEncoder", keys, domain="ai.onnx.ml", **tensors)


def emit_signed_offsets(out: Emitter, keys: str, offsets: tuple[int, ...]) -> str:
    """`key + offsets[slot]` for any key, saturating at the largest int64."""
    column = np.array(offsets, np.int64).reshape(1, -1, 1)
    return out.node("Add", out.node("Min", keys, out.const(MAX_KEY - column, "i64")), out.const(column, "i64"))


def is_padding(out: Emitter, keys: str, padding_key: int | None = None) -> str:
    """Tell which keys are padding: one key, or all negative ones."""
    if padding_key is None:
        return out.node("Less", keys, rank3(out, 0))
    return out.node("Equal", keys, rank3(out, padding_key))


def rank3(out: Emitter, number: int) -> str:
    """Return a number with the rank of keys: onnxruntime takes 25 times as long for a scalar against [N, slot, 1]."""
    return out.const([[[number]]], "i64")
