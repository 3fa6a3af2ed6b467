"""Invented embedding tables: distinct keys as HugeCTR's users have them, in the order that training leaves, and vectors."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from hugectr2onnx.frontend.graph_json.embedding import ONE_HOT
from hugectr2onnx.ir.types import Array
from hugectr2onnx.sample_models import writer
from hugectr2onnx.sample_models.key_styles import equal_slots
from hugectr2onnx.sample_models.plans import TablePlan

GPUS = 2
EMPTY_SLOT_MARKER = np.iinfo(np.int64).max
POOLED_DEVIATION = 0.25


@dataclass(frozen=True, eq=False)
class InventedKeys:
    """int64 [n] each; `slots` is the slot of each key."""

    keys: Array
    slots: Array


def write_table(folder: Path, plan: TablePlan, keys: np.random.Generator, vectors: np.random.Generator) -> None:
    """Write the folder of one table: key, emb_vector, and slot_id where HugeCTR writes it (formats 2.1)."""
    invented = invent_keys(plan, keys)
    writer.make_folder(folder)
    writer.write_array(folder / "key", invented.keys, "<i8")
    if plan.clause.type.startswith("Localized"):
        writer.write_array(folder / "slot_id", invented.slots, "<u8")
    writer.write_vectors(folder / "emb_vector", len(invented.keys), plan.clause.vec_size, _deviation(plan), vectors)


def invent_keys(plan: TablePlan, generator: np.random.Generator) -> InventedKeys:
    """Distinct keys in the order of the file: GPU by GPU, on one GPU in no order (formats 2.1).

    offsets: ids of each slot's vocabulary plus the sizes of the slots before it, never more than there are ids; where no
    sizes are known, slots of equal size of which a fifth was never seen. hashes: any non-negative 64-bit numbers. ids: 0
    to rows - 1, shared by all slots. A OneHot table holds every id of its `slot_size_array`, whatever the style.
    """
    if plan.clause.type == ONE_HOT:
        return _complete(plan.clause.slot_size_array or ())
    if plan.style == "offsets":
        invented = _offset_keys(plan, generator)
    else:
        ids = plan.style == "ids"
        keys = generator.permutation(plan.rows) if ids else distinct(EMPTY_SLOT_MARKER, plan.rows, generator)
        invented = InventedKeys(keys, generator.integers(0, plan.sparse.slot_num, plan.rows))
    gpu = (invented.slots if plan.clause.type.startswith("Localized") else invented.keys) % GPUS
    order = np.argsort(gpu, kind="stable")
    return InventedKeys(invented.keys[order], invented.slots[order])


def distinct(limit: int, count: int, generator: np.random.Generator) -> Array:
    """`count` different numbers below `limit`, in no order."""
    if count > limit // 4:
        return generator.permutation(limit)[:count]
    found = np.empty(0, np.int64)
    while len(found) < count:
        found = np.unique(np.concatenate([found, generator.integers(0, limit, 2 * count)]))
    return generator.permutation(found)[:count]


def _complete(sizes: Sequence[int]) -> InventedKeys:
    """Return every id of every slot, grouped by GPU, then slot."""
    slots = np.repeat(np.arange(len(sizes)), sizes)
    order = np.argsort(slots % GPUS, kind="stable")
    return InventedKeys(order.astype(np.int64), slots[order])


def _offset_keys(plan: TablePlan, generator: np.random.Generator) -> InventedKeys:
    sizes = plan.sizes or [equal_slots(plan.rows, plan.sparse.slot_num)] * plan.sparse.slot_num
    ends = np.cumsum(np.asarray(sizes, np.int64))
    ids = distinct(int(ends[-1]), min(plan.rows, int(ends[-1])), generator)
    return InventedKeys(ids + plan.first, np.searchsorted(ends, ids, side="right"))


def _deviation(plan: TablePlan) -> float:
    """Of one number of a vector, so that a pooled vector is of one size whatever is pooled."""
    return POOLED_DEVIATION * (1 if plan.clause.combiner == "mean" else plan.sparse.max_nnz**-0.5)
