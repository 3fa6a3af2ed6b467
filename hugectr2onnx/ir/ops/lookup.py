"""Embedding look-ups: from keys [N, slot, max_nnz] to pooled vectors [N, slot, vec] (formats 3.2 to 3.4).

A negative key is padding, or with a `padding_key` that key alone: it adds nothing and `mean` does not count it. Any other
key that the table lacks gives the default vector, normally zeros, and is counted.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Self

import numpy as np

from hugectr2onnx.errors import ShapeError
from hugectr2onnx.ir.graph import Node
from hugectr2onnx.ir.op import Emitter, Op
from hugectr2onnx.ir.ops.key_maps import (
    NO_OFFSETS,
    Direct,
    KeyMap,
    LabelEncoded,
    emit_map,
    emit_offsets,
    emit_signed_offsets,
    is_padding,
    rank3,
)
from hugectr2onnx.ir.ops.pooling import emit_apart, emit_count, emit_pool
from hugectr2onnx.ir.ops.stored_rows import store
from hugectr2onnx.ir.types import Array, DType, TensorType, f32
from hugectr2onnx.tables import paging
from hugectr2onnx.tables.gathered import Gathered
from hugectr2onnx.tables.key_index import MAX_INT32_ROWS, MAX_KEY, KeyColumn, RangeIndex, column, signed_column
from hugectr2onnx.tables.row_format import FP32, RowFormat

VECTORS = ".vectors"
"""The end of the name of a table's vectors; what stands before it names the table."""
_KEYS_AT_ONCE = 1 << 20
NO_KEY = 1 << 64
"""A `padding_key` that no key is: then nothing is padding."""


@dataclass(frozen=True)
class SlotOffset(Op):
    """`key + offsets[slot]` for keys >= 0, saturating at the largest int64, which no table can hold (formats 2.1)."""

    offsets: tuple[int, ...]

    def infer(self, keys: TensorType) -> TensorType:
        if keys.dtype is not DType.I64 or keys.rank != 3 or keys.shape[1] != len(self.offsets):
            raise ShapeError(f"{len(self.offsets)} slot offsets cannot be added to keys of {keys}")
        return keys

    def evaluate(self, keys: Array) -> Array:
        offsets = self._column()
        return np.where(keys < 0, keys, np.minimum(keys, MAX_KEY - offsets) + offsets)

    def emit(self, out: Emitter, keys: str) -> str:
        return emit_offsets(out, keys, self.offsets)

    def _column(self) -> Array:
        return np.array(self.offsets, np.int64).reshape(1, -1, 1)


@dataclass(frozen=True)
class Lookup(Op):
    """Rows by key, pooled over the keys of a slot. Subclasses say which row a key means."""

    combiner: str
    default: float = 0.0
    """Every component of the vector of a key that the table lacks."""
    key_map: KeyMap | None = field(default=None, kw_only=True)
    """How a key finds its row in ONNX; None is the plain way: a LabelEncoder, one gather, one reduction."""
    offsets: tuple[int, ...] = field(default=NO_OFFSETS, kw_only=True)
    """What each slot adds to its keys first, as `SlotOffset` does."""
    row_format: RowFormat = field(default=FP32, kw_only=True)
    """How the table is stored. The look-up means the rows that come back out of it."""
    apart: bool = field(default=False, kw_only=True)
    """Whether the axis of a slot's keys stays, with length 1: what a gather gives before any Reshape."""

    padding_key: int | None = field(default=None, kw_only=True)
    """The one key that is padding, as it comes in, without its offset; None: any negative key."""

    def take_slots(self, slots: Sequence[int]) -> Self:
        """Return the look-up of some of its slots."""
        return replace(self, offsets=tuple(self.offsets[slot] for slot in slots) if self.offsets else NO_OFFSETS)

    def known(self, table_keys: Array) -> tuple[Array, Array, int]:
        """Return the keys that a map must hold, what it gives for each of them, and what it gives for any other."""
        raise NotImplementedError

    def moved(self, keys: Array) -> Array:
        """Return the keys with their offsets."""
        if not self.offsets:
            return keys
        if self.padding_key is None:
            return SlotOffset(self.offsets).evaluate(keys)
        offsets = np.array(self.offsets, np.int64).reshape(1, -1, 1)
        return np.asarray(np.minimum(keys, MAX_KEY - offsets) + offsets)

    def is_padding(self, keys: Array) -> Array:
        """Tell which keys are padding, as they come in."""
        return np.asarray(keys < 0 if self.padding_key is None else keys == self.padding_key)

    def emit_moved(self, out: Emitter, keys: str) -> str:
        """Return the keys with their offsets, where one key alone is padding: the padding key moves too."""
        return emit_signed_offsets(out, keys, self.offsets) if any(self.offsets) else keys

    def emit_padding(self, out: Emitter, keys: str, rows: str, row: int, table_keys: Array, type: np.dtype[Any]) -> str:
        """`row` where one key alone is padding and would find another row; elsewhere `rows`, integers of a type."""
        assert self.padding_key is not None
        if self.padding_key == NO_KEY:
            return rows
        if self.default == 0 and not any(self.offsets) and not _holds(table_keys, self.padding_key):
            # The table lacks the padding key, and what is missing adds as little as padding.
            return rows
        padding = is_padding(out, keys, self.padding_key)
        return out.node("Where", padding, out.stacked("padding_row", np.array([[[row]]], type)), rows)

    @property
    def padding_row_beyond(self) -> int:
        """How far behind the row of missing keys that of padding lies."""
        return 0 if self.default == 0 else 1

    def pooled_type(self, keys: TensorType, table_keys: TensorType, vectors: TensorType) -> TensorType:
        """`f32[N, slot, vec]`, `apart` f32[N, slot, 1, vec]; raises ShapeError where keys and table do not fit."""
        if keys.dtype is not DType.I64 or keys.rank != 3:
            raise ShapeError(f"keys must be i64[N, slot, max_nnz], not {keys}")
        if vectors.rank != 2 or table_keys.shape != vectors.shape[:1]:
            raise ShapeError(f"a table needs a vector a key, not {vectors} for {table_keys}")
        return f32(*keys.shape[:2], *([1] if self.apart else []), vectors.shape[1])

    def pool(self, keys: Array, rows: Array, vectors: Array) -> Array:
        """Return the pooled vectors in float64; `rows` holds -1 where the table lacks the key."""
        gathered = np.full((*rows.shape, vectors.shape[1]), self.default, np.float64)
        if not self.row_format.is_exact:
            gathered[...] = self.row_format.round_trip(self.tail(vectors)[:1])
        found = rows >= 0
        gathered[found] = self.row_format.round_trip(paging.take(vectors, rows[found]))
        present = ~self.is_padding(keys)
        gathered[~present] = 0.0
        total = gathered.sum(2)
        count = np.maximum(present.sum(2)[..., None], 1)
        pooled = np.asarray(total / count if self.combiner == "mean" else total)
        return pooled[:, :, None] if self.apart else pooled

    def emit_plain_pool(self, out: Emitter, keys: str, rows: str, vectors: str) -> str:
        """Gather and reduce; `rows` holds the number of rows where the table lacks the key or the key is padding."""
        table = out.array(vectors)
        if self.default != 0 and self.padding_key is None:
            padding = out.node("Less", keys, out.const(0, "i64"))
            rows = out.node("Where", padding, out.const(len(table) + 1, "i64"), rows)
        gathered = store(out, vectors, table, self.tail(table), self.row_format).emit_gather(out, rows)
        total = out.node("ReduceSum", gathered, out.const([2], "i64"), keepdims=0)
        pooled = out.node("Div", total, emit_count(out, keys, self.padding_key)) if self.combiner == "mean" else total
        return emit_apart(out, pooled, out.type(keys), table.shape[1]) if self.apart else pooled

    def emit_fast_pool(self, out: Emitter, keys: str, rows: str, vectors: str, part: Array | Gathered) -> str:
        """Return the same with the cheapest reduction; `part` holds the rows in the order that the map counts them in."""
        width = out.array(vectors).shape[1]
        table = store(out, vectors, part, self.tail(out.array(vectors)), self.row_format, fast=True)
        mean = self.combiner == "mean"
        return emit_pool(out, keys, rows, table, width, mean=mean, apart=self.apart, padding_key=self.padding_key)

    def tail(self, table: Array) -> Array:
        """Return the rows behind a table: what a missing key gets, and zeros for padding where that is something else."""
        rows = np.zeros((1 if self.default == 0 else 2, table.shape[1]), np.float32)
        rows[0] = self.default
        return rows


@dataclass(frozen=True)
class Embedding(Lookup):
    """The look-up by key alone: table keys are unique."""

    def infer(self, keys: TensorType, table_keys: TensorType, vectors: TensorType) -> TensorType:
        return self.pooled_type(keys, table_keys, vectors)

    def evaluate(self, keys: Array, table_keys: Array, vectors: Array) -> Array:
        return self.pool(keys, rows_of(self.moved(keys), table_keys), vectors)

    def emit(self, out: Emitter, keys: str, table_keys: str, vectors: str) -> str:
        table = out.array(vectors)
        if self.padding_key is not None:
            return self._emit_signed(out, keys, out.array(table_keys), vectors)
        if isinstance(self.key_map, Direct) and self.key_map.ordered:
            positions = self.key_map.emit_position(out, keys, self.offsets)
            return self.emit_fast_pool(out, keys, positions, vectors, self._ordered(table, out.array(table_keys)))
        known, rows, count = self.known(out.array(table_keys))
        if self.key_map is None:
            return self.emit_plain_pool(out, keys, emit_map(out, keys, known, rows, count), vectors)
        found = self.key_map.emit_rows(out, keys, self.offsets, known, rows, count, self.default != 0)
        return self.emit_fast_pool(out, keys, found, vectors, table)

    def _emit_signed(self, out: Emitter, keys: str, table_keys: Array, vectors: str) -> str:
        table, moved = out.array(vectors), self.emit_moved(out, keys)
        known, rows, missing = self.known(table_keys)
        padding_row = missing + self.padding_row_beyond
        if self.key_map is None:
            found = emit_map(out, moved, known, rows, missing)
            found = self.emit_padding(out, keys, found, padding_row, table_keys, np.dtype(np.int64))
            return self.emit_plain_pool(out, keys, found, vectors)
        if isinstance(self.key_map, Direct) and self.key_map.ordered:
            position = self.key_map.emit_any_position(out, moved, apart=self.default != 0)
            # The last row behind the table is that of padding, and -1 counts back from the end.
            position = self.emit_padding(out, keys, position, -1, table_keys, np.dtype(np.int64))
            return self.emit_fast_pool(out, keys, position, vectors, self._ordered(table, table_keys))
        found = self.key_map.emit_found(out, moved, known, rows, missing)
        found = self.emit_padding(out, keys, found, padding_row, table_keys, self.key_map.row_type(missing))
        return self.emit_fast_pool(out, keys, found, vectors, table)

    def known(self, table_keys: Array) -> tuple[Array, Array, int]:
        return *_valid(table_keys), len(table_keys)

    def _ordered(self, table: Array, table_keys: Array) -> Array | Gathered:
        """Return the rows in the order of their keys, with the default vector where a key is missing."""
        assert isinstance(self.key_map, Direct)
        order = order_by_key(table_keys, self.key_map)
        if len(order) == len(table) and _counts_up(order):
            return table
        return Gathered(table, order, self.default, keys=table_keys, low=self.key_map.low)


@dataclass(frozen=True)
class LocalizedEmbedding(Lookup):
    """The look-up by (slot mod n_gpus, key): a Localized table may hold a key once per GPU (formats 2.2)."""

    n_gpus: int = 1
    slots: tuple[int, ...] = ()
    """The number of each slot of the keys, which decides its GPU, unless an operand says it for each key."""

    def infer(
        self,
        keys: TensorType,
        table_keys: TensorType,
        vectors: TensorType,
        slot_ids: TensorType,
        key_slots: TensorType | None = None,
    ) -> TensorType:
        if slot_ids.shape != table_keys.shape or keys.rank != 3 or keys.shape[1] != len(self.slots):
            raise ShapeError(f"keys of {keys} for {len(self.slots)} slots, {slot_ids} slot ids for {table_keys}")
        return self.pooled_type(keys, table_keys, vectors)

    def evaluate(
        self, keys: Array, table_keys: Array, vectors: Array, slot_ids: Array, key_slots: Array | None = None
    ) -> Array:
        rows, moved = np.full(keys.shape, -1, np.int64), self.moved(keys)
        slots = np.array(self.slots, np.int64).reshape(1, -1, 1) if key_slots is None else key_slots
        gpus = np.broadcast_to(slots % self.n_gpus, keys.shape)
        for gpu in range(self.n_gpus):
            (mine,) = np.nonzero(np.asarray(slot_ids) % self.n_gpus == gpu)
            asked = gpus == gpu
            own = np.asarray(table_keys)[mine]
            local = rows_of(moved[asked], own if self.padding_key is None else signed_column(own))
            rows[asked] = np.where(local >= 0, mine[local] if len(mine) else -1, -1)
        return self.pool(keys, rows, vectors)

    def emit(
        self, out: Emitter, keys: str, table_keys: str, vectors: str, slot_ids: str, key_slots: str | None = None
    ) -> str:
        table, gpu = out.array(table_keys), np.asarray(out.array(slot_ids)) % self.n_gpus
        unique, ids, count = self.known(table)
        valid, rows = _valid(table)
        places = np.full((count + 1, self.n_gpus), len(table), np.int64)
        places[np.searchsorted(unique, valid), gpu[rows]] = rows
        if self.padding_key is not None:
            key_map = self.key_map or LabelEncoded()
            key_id = key_map.emit_found(out, self.emit_moved(out, keys), unique, ids, count)
        elif self.key_map is None:
            key_id = emit_map(out, keys, unique, ids, count)
        else:
            key_id = self.key_map.emit_rows(out, keys, self.offsets, unique, ids, count, False)
        row = self._emit_row(out, key_id, slot_ids, places, key_slots)
        if self.padding_key is not None:
            padding_row = len(table) + self.padding_row_beyond
            row = self.emit_padding(out, keys, row, padding_row, table, np.dtype(np.int64))
            if self.key_map is not None:
                return self.emit_fast_pool(out, keys, row, vectors, out.array(vectors))
        if self.key_map is None:
            return self.emit_plain_pool(out, keys, row, vectors)
        if self.default != 0:
            row = out.node("Where", is_padding(out, keys), rank3(out, len(table) + 1), row)
        return self.emit_fast_pool(out, keys, row, vectors, out.array(vectors))

    def known(self, table_keys: Array) -> tuple[Array, Array, int]:
        """Return numbers of different keys: which row a key means depends on the slot too."""
        unique = np.unique(_valid(table_keys)[0])
        return unique, np.arange(len(unique)), len(unique)

    def _emit_row(self, out: Emitter, key_id: str, slot_ids: str, places: Array, key_slots: str | None) -> str:
        if self.key_map is not None and not isinstance(self.key_map, LabelEncoded):
            key_id = out.node("Cast", key_id, to=DType.I64)
        if key_slots is None:
            slot_gpu = out.const(np.array(self.slots, np.int64).reshape(1, -1, 1) % self.n_gpus, "i64")
        else:
            slot_gpu = out.node("Mod", key_slots, rank3(out, self.n_gpus))
        place = out.node("Add", out.node("Mul", key_id, rank3(out, self.n_gpus)), slot_gpu)
        return out.node("Gather", out.stacked(slot_ids, places.reshape(-1)), place, axis=0)

    def take_slots(self, slots: Sequence[int]) -> Self:
        return replace(super().take_slots(slots), slots=tuple(self.slots[slot] for slot in slots))


def table_label(node: Node) -> str:
    """Return the table of a look-up for a reader: the embedding tops, and the table's own name where it has another."""
    tops = ", ".join(node.sources) or node.name
    vectors = node.inputs[2].node.name
    table = vectors.removesuffix(VECTORS)
    return tops if table in (vectors, *node.sources) else f"{tops} ({table})"


def order_by_key(table_keys: Array, direct: Direct) -> Array:
    """Return the row of each key from the lowest to the highest of the map, -1 where the table lacks it."""
    index = column(table_keys).index
    if isinstance(index, RangeIndex) and (index.low, len(index.table)) == (direct.low, direct.width):
        return index.table
    order = np.full(direct.width, -1, np.int32 if len(table_keys) < MAX_INT32_ROWS else np.int64)
    if isinstance(index, RangeIndex):
        order[index.low - direct.low :][: len(index.table)] = index.table
    else:
        known, rows = _valid(table_keys)
        order[known - direct.low] = rows
    return order


def _holds(table_keys: Array, key: int) -> bool:
    return bool(column(table_keys).index.rows(np.array([key], np.int64))[0] >= 0)


def _counts_up(order: Array) -> bool:
    """Tell whether it is 0, 1, 2, ...: told from its beginning, as a rule."""
    chunks = range(0, len(order), _KEYS_AT_ONCE)
    return all(
        np.array_equal(order[at : at + _KEYS_AT_ONCE], np.arange(at, min(at + _KEYS_AT_ONCE, len(order))))
        for at in chunks
    )


def _valid(table_keys: Array) -> tuple[Array, Array]:
    """Return the keys of 0 and more, and their rows: the others can never be asked for."""
    known = column(table_keys)
    if known.count == len(known):
        return np.asarray(known), np.arange(len(known))
    (rows,) = np.nonzero(np.asarray(known) >= 0)
    return np.asarray(known)[rows], rows


def rows_of(keys: Array, table_keys: Array) -> Array:
    """Return the row of each key, -1 where the key is negative or absent; without an index it reads the table's keys once."""
    if isinstance(table_keys, KeyColumn):
        return table_keys.index.rows(keys)
    wanted, back = np.unique(keys, return_inverse=True)
    rows = np.full(len(wanted), -1, np.int64)
    for start in range(0, len(table_keys) if len(wanted) else 0, _KEYS_AT_ONCE):
        chunk = np.asarray(table_keys[start : start + _KEYS_AT_ONCE])
        at = np.minimum(np.searchsorted(wanted, chunk), len(wanted) - 1)
        (hits,) = np.nonzero(wanted[at] == chunk)
        rows[at[hits]] = start + hits
    rows[wanted < 0] = -1
    return rows[back].reshape(keys.shape)
