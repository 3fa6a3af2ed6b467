"""Ask the key map of an ONNX file for keys: every one is asked for once, at a position of the input that may ask for it."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from onnx import numpy_helper

from hugectr2onnx.ir.feeds import PADDING
from hugectr2onnx.ir.ops.lookup import Lookup
from hugectr2onnx.ir.types import Array
from hugectr2onnx.tables.key_index import KeyColumn, is_dense
from hugectr2onnx.verification.row_finder import KeyGroup
from hugectr2onnx.verification.traced_lookups import TracedLookup

UNREACHABLE = np.iinfo(np.int64).min
"""Stands for the row of a key that no position of the input can ask for."""
CELLS_AT_ONCE = 1 << 20
_CELLS_AROUND = 2


def find_rows(lookup: TracedLookup, keys: Array, *, known_only: bool = True) -> Array:
    """int64 [n]: the row that the file finds for each key, UNREACHABLE where the input cannot ask for it.

    `known_only`: the keys are those of the table, row by row, and of a table with several rows for a key each row is asked
    for where it can be meant. Otherwise any keys, asked for at the positions of the first group.
    """
    found = np.full(len(keys), UNREACHABLE, np.int64)
    for group in lookup.groups if known_only else lookup.groups[:1]:
        if group.rows is None or not known_only:
            _find(lookup, group, keys, found)
        else:
            part = np.full(len(group.rows), UNREACHABLE, np.int64)
            _find(lookup, group, np.asarray(keys)[group.rows], part)
            found[group.rows] = part
    return found


def _find(lookup: TracedLookup, group: KeyGroup, keys: Array, found: Array) -> None:
    answered = lookup.places[group.cells] >= 0
    cells, offsets = group.cells[answered], group.offsets[answered]
    if not len(cells):
        return
    steps = np.unique(offsets)
    queues = [cells[offsets == offset] for offset in steps]
    step = max(1, CELLS_AT_ONCE // lookup.finder.cells) * min(map(len, queues))
    for start in range(0, len(keys), step):
        chunk = np.asarray(keys[start : start + step])
        found[start : start + step] = _ask(lookup, chunk, steps, queues)


def _ask(lookup: TracedLookup, keys: Array, steps: Array, queues: list[Array]) -> Array:
    """Return each key stands in a cell of the largest offset that does not exceed it, which is that of its own slot."""
    slot = np.where(keys >= 0, np.searchsorted(steps, keys, "right") - 1, -1)
    op = lookup.node.op
    if isinstance(op, Lookup) and op.padding_key is not None:
        # Negative keys are keys too: the slot of the smallest offset asks for them. Only the padding key cannot be asked.
        slot = np.where(keys < 0, 0, slot)
        slot = np.where(keys - steps[slot] == op.padding_key, -1, slot)
    members = [np.flatnonzero(slot == number) for number in range(len(steps))]
    units = max(-(-len(mine) // len(cells)) for mine, cells in zip(members, queues, strict=True))
    found = np.full(len(keys), UNREACHABLE, np.int64)
    if not units:
        return found
    feed = np.full((units, lookup.finder.cells), PADDING, np.int64)
    for offset, mine, cells in zip(steps, members, queues, strict=True):
        column = np.full(units * len(cells), PADDING, np.int64)
        column[: len(mine)] = keys[mine] - offset
        feed[:, cells] = column.reshape(units, len(cells))
    answers = lookup.finder.rows(feed)
    for mine, cells in zip(members, queues, strict=True):
        found[mine] = answers[:, lookup.places[cells]].reshape(-1)[: len(mine)]
    return found


def keys_that_the_file_knows(lookup: TracedLookup, known: KeyColumn) -> Iterator[Array]:
    """Yield keys that the file's map may hold beside those of the source: in its encoders and tables, and next to its range."""
    for node in lookup.finder.part.skeleton.graph.node:
        for attribute in node.attribute:
            if attribute.name == "keys_int64s":
                yield np.array(attribute.ints, np.int64)
            elif attribute.name == "keys_tensor":
                yield numpy_helper.to_array(attribute.t)
    for tensor in lookup.finder.part.skeleton.graph.initializer:
        blob = lookup.finder.part.tensors.get(tensor.name)
        if tensor.data_type == tensor.INT64 and len(tensor.dims) == 1:
            keys = blob.materialise() if blob is not None else numpy_helper.to_array(tensor)
            yield keys[keys >= 0]
    if known.count and is_dense(known):
        for start in range(max(0, known.low - _CELLS_AROUND), known.high + _CELLS_AROUND, CELLS_AT_ONCE):
            yield np.arange(start, min(start + CELLS_AT_ONCE, known.high + _CELLS_AROUND), dtype=np.int64)
