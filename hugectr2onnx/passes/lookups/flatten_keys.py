"""Look keys in compressed sparse rows up one by one: no slot is padded to the keys of the fullest.

It runs last, at every level: until then look-ups take padded keys, so that the proof's reference and all passes know one form.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from hugectr2onnx.errors import PassError
from hugectr2onnx.ir.graph import Graph, Node, Value
from hugectr2onnx.ir.ops.key_maps import NO_OFFSETS
from hugectr2onnx.ir.ops.lookup import NO_KEY, LocalizedEmbedding, Lookup, SlotOffset
from hugectr2onnx.ir.ops.requests import PadKeys
from hugectr2onnx.ir.ops.segments import FlatKeys, KeySlots, MoveKeys, PoolSegments
from hugectr2onnx.ir.ops.shape import Slice, Take
from hugectr2onnx.tables.key_index import MAX_KEY


def flatten_keys(graph: Graph) -> int:
    """%p = pad_keys(%k, %o); %e = embedding(%p, ...)  ->  %e = pool_segments(embedding(flat_keys(%k), ...), %k, %o)

    Returns the number of look-ups that were changed. Raises PassError for keys that came another way than from their slots.
    """
    flattened = 0
    for node in [node for node in graph if isinstance(node.op, Lookup)]:
        keys = _Keys.behind(node.inputs[0])
        if keys is not None:
            _flatten(node, keys)
            flattened += 1
    return flattened


@dataclass(frozen=True)
class _Keys:
    """The padded keys of some slots of an input, and what each of these slots adds; None where nothing was added."""

    padded: Value
    slots: tuple[int, ...]
    offsets: tuple[int, ...] = NO_OFFSETS

    @staticmethod
    def behind(value: Value) -> _Keys | None:
        """Tell where the keys of a look-up come from; None for those of an input that is padded."""
        op = value.op
        if isinstance(op, PadKeys):
            return _Keys(value, tuple(range(op.slots)))
        before = _Keys.behind(value.inputs[0]) if value.inputs else None
        if before is None:
            return None
        if isinstance(op, SlotOffset):
            return before.moved(op.offsets)
        if isinstance(op, Take | Slice) and op.axis == 1:
            return before.take(tuple(range(op.start, op.end)) if isinstance(op, Slice) else op.indices)
        raise PassError(f"keys in compressed sparse rows cannot go through {op.mnemonic}")

    def moved(self, more: tuple[int, ...]) -> _Keys:
        both = zip(self.offsets or (0,) * len(more), more, strict=True)
        return replace(self, offsets=tuple(min(a + b, MAX_KEY) for a, b in both)) if any(more) else self

    def take(self, places: tuple[int, ...]) -> _Keys:
        offsets = tuple(self.offsets[place] for place in places) if self.offsets else NO_OFFSETS
        return replace(self, slots=tuple(self.slots[place] for place in places), offsets=offsets)


def _flatten(node: Node, keys: _Keys) -> None:
    graph, op, pad = node.graph, node.op, keys.padded.op
    assert isinstance(op, Lookup) and isinstance(pad, PadKeys)
    keys = keys.moved(op.offsets)
    given, offsets = keys.padded.inputs
    with graph.building(*node.sources):
        flat = FlatKeys()(given)
        slots = KeySlots(pad.slots)(flat, offsets) if any(keys.offsets) or isinstance(op, LocalizedEmbedding) else None
        moved = flat
        if any(keys.offsets):
            assert slots is not None
            by_slot = dict(zip(keys.slots, keys.offsets, strict=True))
            every = tuple(by_slot.get(slot, 0) for slot in range(pad.slots))
            moved = MoveKeys(every, signed=pad.padding_key is not None)(flat, slots)
        masked = moved is not flat and pad.padding_key is not None
        # A key and its offset may give the number of the padding key, which is a key then.
        padding_key = NO_KEY if masked else op.padding_key
        alone = replace(op, combiner="sum", offsets=NO_OFFSETS, padding_key=padding_key, apart=False)
        operands = [moved, *node.inputs[1:]]
        if isinstance(alone, LocalizedEmbedding):
            assert slots is not None
            alone, operands = replace(alone, slots=(0,)), [*operands, slots]
        rows = graph.add(alone, *operands)
        pool = PoolSegments(pad.slots, keys.slots, op.combiner == "mean", pad.padding_key, masked)
        pooled = graph.add(pool, rows, flat, offsets, name=node.name)
    graph.replace(node.results[0], pooled)
    graph.erase_dead(node)
