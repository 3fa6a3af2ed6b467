"""Embedding look-ups: from keys [N, slot, max_nnz] to pooled vectors [N, slot, vec] (formats 3.2 to 3.4).

A negative key is padding: it adds nothing and `mean` does not count it. Any other key that the table lacks gives the
default vector, normally zeros, and is counted.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from hugectr2onnx.errors import ShapeError
from hugectr2onnx.ir.op import Emitter, Op
from hugectr2onnx.ir.types import Array, DType, TensorType, f32

LARGEST_KEY = np.iinfo(np.int64).max
CHUNK = 1 << 22


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
        return np.where(keys < 0, keys, np.minimum(keys, LARGEST_KEY - offsets) + offsets)

    def emit(self, out: Emitter, keys: str) -> str:
        offsets = self._column()
        highest = out.const(LARGEST_KEY - offsets, "i64")
        moved = out.node("Add", out.node("Min", keys, highest), out.const(offsets, "i64"))
        return out.node("Where", out.node("Less", keys, out.const(0, "i64")), keys, moved)

    def _column(self) -> Array:
        return np.array(self.offsets, np.int64).reshape(1, -1, 1)


@dataclass(frozen=True)
class Lookup(Op):
    """Rows by key, pooled over the keys of a slot. Subclasses say how a key finds its row."""

    combiner: str
    default: float = 0.0
    """Every component of the vector of a key that the table lacks."""

    def pooled_type(self, keys: TensorType, table_keys: TensorType, vectors: TensorType) -> TensorType:
        """`f32[N, slot, vec]`; raises ShapeError where keys and table do not fit."""
        if keys.dtype is not DType.I64 or keys.rank != 3:
            raise ShapeError(f"keys must be i64[N, slot, max_nnz], not {keys}")
        if vectors.rank != 2 or table_keys.shape != vectors.shape[:1]:
            raise ShapeError(f"a table needs a vector a key, not {vectors} for {table_keys}")
        return f32(keys.shape[0], keys.shape[1], vectors.shape[1])

    def pool(self, keys: Array, rows: Array, vectors: Array) -> Array:
        """The pooled vectors in float64; `rows` holds -1 where the table lacks the key."""
        gathered = np.full((*rows.shape, vectors.shape[1]), self.default, np.float64)
        found = rows >= 0
        gathered[found] = vectors[rows[found]]
        present = keys >= 0
        gathered[~present] = 0.0
        total = gathered.sum(2)
        count = np.maximum(present.sum(2)[..., None], 1)
        return np.asarray(total / count if self.combiner == "mean" else total)

    def emit_pool(self, out: Emitter, keys: str, rows: str, vectors: str) -> str:
        """Gather and reduce; `rows` holds the number of rows where the table lacks the key or the key is padding."""
        table = out.array(vectors)
        tail = np.zeros((1 if self.default == 0 else 2, table.shape[1]), np.float32)
        tail[0] = self.default
        if self.default != 0:
            padding = out.node("Less", keys, out.const(0, "i64"))
            rows = out.node("Where", padding, out.const(len(table) + 1, "i64"), rows)
        gathered = out.node("Gather", out.stacked(vectors, table, tail), rows, axis=0)
        total = out.node("ReduceSum", gathered, out.const([2], "i64"), keepdims=0)
        return out.node("Div", total, self._emit_count(out, keys)) if self.combiner == "mean" else total

    def _emit_count(self, out: Emitter, keys: str) -> str:
        present = out.node("Cast", out.node("GreaterOrEqual", keys, out.const(0, "i64")), to=DType.F32)
        count = out.node("ReduceSum", present, out.const([2], "i64"), keepdims=1)
        return out.node("Max", count, out.const(1.0))


@dataclass(frozen=True)
class Embedding(Lookup):
    """The look-up by key alone: table keys are unique."""

    def infer(self, keys: TensorType, table_keys: TensorType, vectors: TensorType) -> TensorType:
        return self.pooled_type(keys, table_keys, vectors)

    def evaluate(self, keys: Array, table_keys: Array, vectors: Array) -> Array:
        return self.pool(keys, rows_of(keys, table_keys), vectors)

    def emit(self, out: Emitter, keys: str, table_keys: str, vectors: str) -> str:
        table = np.asarray(out.array(table_keys))
        (rows,) = np.nonzero(table >= 0)
        return self.emit_pool(out, keys, emit_map(out, keys, table[rows], rows, len(table)), vectors)


@dataclass(frozen=True)
class LocalizedEmbedding(Lookup):
    """The look-up by (slot mod n_gpus, key): a Localized table may hold a key once per GPU (formats 2.2)."""

    n_gpus: int = 1
    slots: tuple[int, ...] = ()
    """The number of each slot of the keys, which decides its GPU."""

    def infer(self, keys: TensorType, table_keys: TensorType, vectors: TensorType, slot_ids: TensorType) -> TensorType:
        if slot_ids.shape != table_keys.shape or keys.rank != 3 or keys.shape[1] != len(self.slots):
            raise ShapeError(f"keys of {keys} for {len(self.slots)} slots, {slot_ids} slot ids for {table_keys}")
        return self.pooled_type(keys, table_keys, vectors)

    def evaluate(self, keys: Array, table_keys: Array, vectors: Array, slot_ids: Array) -> Array:
        rows = np.full(keys.shape, -1, np.int64)
        for position, slot in enumerate(self.slots):
            (mine,) = np.nonzero(np.asarray(slot_ids) % self.n_gpus == slot % self.n_gpus)
            local = rows_of(keys[:, position], np.asarray(table_keys)[mine])
            rows[:, position] = np.where(local >= 0, mine[local] if len(mine) else -1, -1)
        return self.pool(keys, rows, vectors)

    def emit(self, out: Emitter, keys: str, table_keys: str, vectors: str, slot_ids: str) -> str:
        table, gpu = np.asarray(out.array(table_keys)), np.asarray(out.array(slot_ids)) % self.n_gpus
        (rows,) = np.nonzero(table >= 0)
        unique, ids = np.unique(table[rows], return_inverse=True)
        places = np.full((len(unique) + 1, self.n_gpus), len(table), np.int64)
        places[ids, gpu[rows]] = rows
        key_id = emit_map(out, keys, unique, np.arange(len(unique)), len(unique))
        slot_gpu = out.const(np.array(self.slots, np.int64).reshape(1, -1, 1) % self.n_gpus, "i64")
        place = out.node("Add", out.node("Mul", key_id, out.const(self.n_gpus, "i64")), slot_gpu)
        row = out.node("Gather", out.stacked(slot_ids, places.reshape(-1)), place, axis=0)
        return self.emit_pool(out, keys, row, vectors)


def rows_of(keys: Array, table_keys: Array) -> Array:
    """The row of each key, -1 where the key is negative or absent; reads the table's keys once, chunk by chunk."""
    wanted, back = np.unique(keys, return_inverse=True)
    rows = np.full(len(wanted), -1, np.int64)
    for start in range(0, len(table_keys) if len(wanted) else 0, CHUNK):
        chunk = np.asarray(table_keys[start : start + CHUNK])
        at = np.minimum(np.searchsorted(wanted, chunk), len(wanted) - 1)
        (hits,) = np.nonzero(wanted[at] == chunk)
        rows[at[hits]] = start + hits
    rows[wanted < 0] = -1
    return rows[back].reshape(keys.shape)


def emit_map(out: Emitter, keys: str, known: Array, values: Array, default: int) -> str:
    """`values[i]` where the key is `known[i]`, else `default`, for any int64 at all."""
    if len(known) == 0:
        nothing = out.node("Mul", keys, out.const(0, "i64"))
        return out.node("Add", nothing, out.const(default, "i64"))
    tensors = {"keys_tensor": known, "values_tensor": values.astype(np.int64), "default_tensor": np.array([default])}
    return out.node("LabelEncoder", keys, domain="ai.onnx.ml", **tensors)
