"""Inputs that exercise a graph: keys of its tables and keys they lack, repeats, padding, extremes; lengths and features."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from math import lcm

import numpy as np

from hugectr2onnx.ir.graph import Graph, Node, Value
from hugectr2onnx.ir.op import Op
from hugectr2onnx.ir.ops.lookup import Lookup, SlotOffset
from hugectr2onnx.ir.ops.requests import PadKeys, RequestOp, SplitTables
from hugectr2onnx.ir.ops.shape import Slice, Take
from hugectr2onnx.ir.types import Array, Batch, DType, Width
from hugectr2onnx.tables.key_index import MIN_KEY

EXTREMES = np.array([np.iinfo(np.int64).max, np.iinfo(np.int64).min, 0, -1, 1 << 31, (1 << 32) - 1], np.int64)
SAMPLED_KEYS = 4096
FED_WIDTHS = (1, 3, 9, 33)
"""Widths of inputs whose width is free; a feed takes one by its seed, so that the feeds of a proof differ in it."""
PADDING = -1
"""The key that fills an empty position of an input of keys; no table has it."""


def smallest_batch(graph: Graph) -> int:
    """Return the smallest batch at which every dimension is a whole number and every position taken of the batch exists."""
    dims = (dim for node in graph for type in node.types for dim in type.shape)
    unit = lcm(*(dim.factor.denominator for dim in dims if isinstance(dim, Batch)))
    needed = max((_rows_needed(node) for node in graph), default=1)
    return unit * -(-needed // unit)


def _rows_needed(node: Node) -> int:
    if not isinstance(node.op, Take):
        return 1
    length = node.inputs[0].type.shape[node.op.axis]
    return int(-(-(max(node.op.indices) + 1) // length.factor)) if isinstance(length, Batch) else 1


def feeds_for(
    graph: Graph, batch: int, seed: int, scales: Sequence[float] = (), *, only_known: bool = False
) -> dict[str, Array]:
    """Return random inputs by name at a batch size.

    Float features are normal with a standard deviation of 1. With `scales` those of the second half of the samples are
    multiplied by them in turn: units that are dead on small features wake up on large ones. With `only_known` every key
    that is not padding is one of the tables: files of other converters fail on any other.
    """
    generator = np.random.default_rng(seed)
    feeds = {
        value: _feed(value, batch, generator, FED_WIDTHS[(seed + place) % len(FED_WIDTHS)], only_known)
        for place, value in enumerate(fed_values(graph))
    }
    return request(graph, {value: _scaled(array, scales) for value, array in feeds.items()}, batch)


def fed_values(graph: Graph) -> Iterator[Value]:
    """Tell what layers and look-ups take: inputs, or what `RequestOp`s make of them, in the order of the inputs."""
    seen = set[Value]()
    for value in graph.inputs:
        yield from _fed(value, seen)


def _fed(value: Value, seen: set[Value]) -> Iterator[Value]:
    readers = dict.fromkeys(use.node for use in value.uses if isinstance(use.node.op, RequestOp))
    # The keys of a table that nothing reads have a length of their own.
    if not readers and not isinstance(value.shape[0], Width):
        yield value
    for result in (result for reader in readers for result in reader.results):
        if result not in seen:
            seen.add(result)
            yield from _fed(result, seen)


def request(graph: Graph, values: Mapping[Value, Array], batch: int, *, whole: bool = False) -> dict[str, Array]:
    """Return the inputs by name that make these `fed_values` of a batch; tables among the others get no keys.

    `whole`: padding is sent too, so that each place of padded keys is a key.
    """
    known = dict(values)
    for node in reversed([node for node in graph if isinstance(node.op, RequestOp)]):
        if isinstance(node.op, SplitTables):
            for place, result in enumerate(node.results):
                known.setdefault(result, _no_keys(node.op, place, batch))
        if all(result in known for result in node.results):
            made = [known[result] for result in node.results]
            known.update(zip(node.inputs, _operands(node.op, made, whole), strict=True))
    return {value.node.name: known[value] for value in graph.inputs if value in known}


def _operands(op: Op, results: Sequence[Array], whole: bool) -> tuple[Array, ...]:
    assert isinstance(op, RequestOp)
    return op.send_whole(results[0]) if whole and isinstance(op, PadKeys) else op.invert(*results)


def _no_keys(op: SplitTables, place: int, batch: int) -> Array:
    """Return the keys or the offsets of a table without keys."""
    return np.zeros(batch * op.slots[place // 2] + 1 if place % 2 else 0, np.int64)


def _scaled(array: Array, scales: Sequence[float]) -> Array:
    if array.dtype.kind != "f" or not scales or len(array) < 2:
        return array
    factors = np.ones(len(array), np.float32)
    half = len(array) // 2
    factors[half:] = np.resize(np.array(scales, np.float32), len(array) - half)
    return array * factors.reshape(-1, *[1] * (array.ndim - 1))


def _feed(value: Value, batch: int, generator: np.random.Generator, free_width: int, only_known: bool) -> Array:
    shape = value.type.concrete(batch)
    if value.type.dtype is DType.I64:
        if not isinstance(value.shape[-1], Width):
            return _keys(value, shape, generator, only_known)
        padding_key = padding_key_of(value)
        filled = _keys(value, (*shape[:-1], free_width), generator, only_known)
        return _emptied(filled, PADDING if padding_key is None else padding_key, generator)
    normal = generator.normal(0, 1, shape)
    whole = generator.integers(0, 12, shape)
    return np.where(generator.random(shape) < 0.8, normal, whole).astype(np.float32)


def padding_key_of(value: Value) -> int | None:
    """Return the one key that is padding for the look-ups behind an input of keys; None where any negative key is."""
    for use in value.uses:
        op = use.node.op
        found = op.padding_key if isinstance(op, Lookup) else None
        if not isinstance(op, Lookup):
            found = next((key for each in use.node.results if (key := padding_key_of(each)) is not None), None)
        if found is not None:
            return found
    return None


def _emptied(keys: Array, padding: int, generator: np.random.Generator) -> Array:
    """Return keys with the hotness of real data: most slots hold a few, some none, some all places, and padding follows."""
    width = keys.shape[-1]
    count = np.minimum(generator.geometric(0.4, (*keys.shape[:-1], 1)) - 1, width)
    count = np.where(generator.random(count.shape) < 0.05, width, count)
    return np.where(np.arange(width) < count, keys, padding)


def _keys(value: Value, shape: tuple[int, ...], generator: np.random.Generator, only_known: bool) -> Array:
    """Mostly keys of the tables behind the input; a tenth padding, a tenth unknown or extreme, some repeated in a slot."""
    padding_key = padding_key_of(value)
    keys = generator.integers(0, 1 << 40, shape)
    for slots, table_keys, offsets in _tables_behind(value, tuple(range(shape[1])), (0,) * shape[1]):
        known = _sample(table_keys, generator)
        lowest = MIN_KEY if padding_key is not None else 0
        for position, offset in zip(slots, offsets, strict=True):
            mine = known[known >= lowest + offset] - offset
            if len(mine):
                keys[:, position] = generator.choice(mine, keys[:, position].shape)
    kind = generator.random(shape)
    keys = np.where(kind < 0.1, PADDING if padding_key is None else padding_key, keys)
    if not only_known:
        keys = np.where((kind >= 0.1) & (kind < 0.15), generator.choice(EXTREMES, shape), keys)
        keys = np.where((kind >= 0.15) & (kind < 0.2), generator.integers(0, 1 << 62, shape), keys)
    repeated = (kind > 0.8)[..., :1]
    return np.where(repeated, keys[..., :1], keys)


def _tables_behind(
    value: Value, slots: tuple[int, ...], offsets: tuple[int, ...]
) -> Iterator[tuple[tuple[int, ...], Array, tuple[int, ...]]]:
    """(positions of the input, keys of the table, offsets that are added) for each look-up that an input feeds."""
    for use in value.uses:
        op, node = use.node.op, use.node
        if isinstance(op, Lookup) and use.slot == 0:
            table_keys = node.inputs[1].const
            assert table_keys is not None
            yield slots, table_keys, tuple(map(sum, zip(offsets, op.offsets, strict=True))) if op.offsets else offsets
        elif isinstance(op, SlotOffset):
            yield from _tables_behind(node.results[0], slots, tuple(map(sum, zip(offsets, op.offsets, strict=True))))
        elif isinstance(op, Slice | Take) and op.axis == 1:
            taken = range(op.start, op.end) if isinstance(op, Slice) else op.indices
            own = tuple(slots[i] for i in taken), tuple(offsets[i] for i in taken)
            yield from _tables_behind(node.results[0], *own)


def _sample(table_keys: Array, generator: np.random.Generator) -> Array:
    """Return some keys of a table, the first and the last among them, without reading all of it."""
    count = len(table_keys)
    if count <= SAMPLED_KEYS:
        return np.asarray(table_keys)
    rows = np.unique(np.r_[0, count - 1, generator.integers(0, count, SAMPLED_KEYS)])
    return np.asarray(table_keys[rows])
