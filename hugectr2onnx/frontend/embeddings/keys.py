"""The keys of one sparse input as look-ups take them: the input, what each slot adds, and which keys are padding."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace
from itertools import accumulate

import numpy as np

from hugectr2onnx.errors import OptionError, Setting
from hugectr2onnx.frontend.graph_json.clauses import SparseInput
from hugectr2onnx.ir.graph import Graph, Value
from hugectr2onnx.ir.ops.lookup import Lookup, SlotOffset
from hugectr2onnx.ir.types import Array, Width
from hugectr2onnx.tables import paging
from hugectr2onnx.tables.key_index import MAX_KEY, KeyColumn, column, signed_column


@dataclass(frozen=True)
class Keys:
    """`value` is i64[N, slot, nnz]; `offsets` is what each slot still adds to its keys, none where that was done."""

    value: Value
    offsets: tuple[int, ...] = ()
    padding_key: int | None = None

    @staticmethod
    def of(value: Value, offsets: tuple[int, ...], padding_key: int | None) -> Keys:
        """Return keys whose slots add offsets.

        If one key alone is padding, the look-up adds them: the sum of another key and its offset may be that number.
        """
        if not any(offsets):
            return Keys(value, (), padding_key)
        return Keys(SlotOffset(offsets)(value)) if padding_key is None else Keys(value, offsets, padding_key)

    @property
    def slots(self) -> int:
        slots = self.value.shape[1]
        assert isinstance(slots, int)
        return slots

    def moved(self, offsets: Sequence[int]) -> Keys:
        """Return the same keys with further offsets."""
        if self.padding_key is None:
            return Keys(SlotOffset(tuple(offsets))(self.value))
        own = self.offsets or (0,) * len(offsets)
        return replace(self, offsets=tuple(min(a + b, MAX_KEY) for a, b in zip(own, offsets, strict=True)))

    def look_up(self, op: Lookup, *table: Value) -> Value:
        """Return the look-up of these keys in a table."""
        if self.padding_key is not None:
            op = replace(op, padding_key=self.padding_key, offsets=self.offsets)
        return op(self.value, *table)

    def column(self, graph: Graph, keys: Array, name: str) -> Value:
        """Return the keys of a table as an operand of look-ups."""
        return graph.const(table_column(keys, self.padding_key), name)


def exclusive_sum(sizes: Sequence[int]) -> list[int]:
    """Tell what stands before each: where each slot begins among keys that are numbered through all slots."""
    return [0, *accumulate(sizes)][: len(sizes)]


def key_width(sparse: SparseInput, fixed: Collection[str] = ()) -> int:
    """Return the third dimension of an input of keys."""
    if sparse.max_nnz == 1 or sparse.top in fixed:
        return sparse.max_nnz
    return Width(sparse.max_nnz, f"nnz_{sparse.top}")


def table_column(keys: Array, padding_key: int | None) -> KeyColumn:
    """Return the keys of a table; negative ones are keys if one key alone is padding."""
    return column(keys) if padding_key is None else signed_column(keys)


def check_padding(keys: Array, padding_key: int | None, where: str) -> str | None:
    """Warn where the padding key is a key of the table. Raises OptionError for negative keys without a padding key."""
    if padding_key is None:
        negative = len(keys) - column(keys).count
        if not negative:
            return None
        free = next(key for key in (-1, MAX_KEY, *range(-2, -len(keys) - 3, -1)) if not _holds(keys, key))
        raise OptionError(
            f"{where}: {negative:,} of its {len(keys):,} keys are negative, and a negative key is padding unless the padding "
            "is said: give the one key that pads a slot, such as ",
            Setting("padding_key", free),
            ", which the table does not hold",
        )
    if _holds(keys, padding_key):
        return f"{where}: the padding key {padding_key} is a key of the table, whose row can then not be asked for"
    return None


def _holds(keys: Array, key: int) -> bool:
    return any(bool((chunk == key).any()) for chunk in paging.chunks(np.asarray(keys)))
