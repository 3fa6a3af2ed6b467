"""Invented embedding tables: distinct keys as HugeCTR's users have them, vectors, and the order that training leaves."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from hugectr2onnx.errors import WeightsError
from hugectr2onnx.frontend.clauses import EmbeddingClause, SparseInput
from hugectr2onnx.frontend.embedding import ONE_HOT
from hugectr2onnx.ir.types import Array

KeyStyle = Literal["offsets", "hashes", "ids"]
KEY_STYLES: tuple[KeyStyle, ...] = ("offsets", "hashes", "ids")
UNSEEN = 1.25
GPUS = 2
MOST_FLOATS = 1 << 29
EMPTY_SLOT_MARKER = np.iinfo(np.int64).max


@dataclass(frozen=True, eq=False)
class InventedKeys:
    """int64 [n] each, row by row; `slots` is the slot of each key."""

    keys: Array
    slots: Array


def check_rows(clause: EmbeddingClause, rows: int) -> None:
    """Raise WeightsError for a table that is too large to invent."""
    if rows * clause.vec_size > MOST_FLOATS:
        raise WeightsError(
            f"{clause.where}: {rows} rows of {clause.vec_size} floats are more than the {MOST_FLOATS} floats that are "
            "invented; ask for fewer rows, or make slot_size_array smaller where the table holds the whole vocabulary"
        )


def invent_keys(
    clause: EmbeddingClause,
    sparse: SparseInput,
    rows: int,
    style: KeyStyle,
    sizes: Sequence[int] | None,
    first: int,
    generator: np.random.Generator,
) -> InventedKeys:
    """Distinct keys in the order of the file: GPU by GPU, within one in no order (formats 2.1).

    offsets: ids of the slot's vocabulary plus the sizes of the slots before it, `first` for slot 0, some ids never seen;
    hashes: any non-negative 64-bit numbers; ids: 0 to rows - 1, shared by all slots. OneHot holds every id of its own
    `slot_size_array`.
    """
    if clause.type == ONE_HOT:
        return _complete(clause)
    if style == "offsets":
        invented = _offset_keys(sizes or _even(sparse.slot_num, rows), rows, first, generator)
    else:
        keys = generator.permutation(rows) if style == "ids" else distinct(EMPTY_SLOT_MARKER, rows, generator)
        invented = InventedKeys(keys, generator.integers(0, sparse.slot_num, rows))
    gpu = (invented.slots if clause.type.startswith("Localized") else invented.keys) % GPUS
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


def vocabulary(clause: EmbeddingClause) -> int:
    """The rows of a OneHot table."""
    return sum(clause.slot_size_array or ())


def scale_of(clause: EmbeddingClause, sparse: SparseInput) -> float:
    """The deviation of the vectors that keeps a pooled one at about 0.25."""
    return 0.25 if clause.combiner == "mean" else 0.25 * sparse.max_nnz**-0.5


def _complete(clause: EmbeddingClause) -> InventedKeys:
    """Every id of every slot, grouped by GPU, then slot."""
    slots = np.repeat(np.arange(len(clause.slot_size_array or ())), clause.slot_size_array or ())
    order = np.argsort(slots % GPUS, kind="stable")
    return InventedKeys(order.astype(np.int64), slots[order])


def _offset_keys(sizes: Sequence[int], rows: int, first: int, generator: np.random.Generator) -> InventedKeys:
    ends = np.cumsum(np.asarray(sizes, np.int64))
    ids = distinct(int(ends[-1]), min(rows, int(ends[-1])), generator)
    return InventedKeys(ids + first, np.searchsorted(ends, ids, side="right"))


def _even(slots: int, rows: int) -> list[int]:
    return [-(-int(rows * UNSEEN) // slots)] * slots
