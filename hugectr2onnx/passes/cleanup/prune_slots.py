"""Look up only the slots that somebody reads.

`Reshape.selected` takes some slots of an embedding; a Slice of the flattened embedding takes a stretch of its columns.
Where all readers together leave slots out, the keys of those slots need not be looked up.
"""

from __future__ import annotations

from collections.abc import Sequence

from hugectr2onnx.ir.graph import Graph, Node, Use, Value
from hugectr2onnx.ir.ops.lookup import Lookup
from hugectr2onnx.ir.ops.shape import Reshape, Slice, Take
from hugectr2onnx.passes.rewriter import Fires


def prune_slots(graph: Graph) -> Fires:
    """%e = embedding(%keys); take(%e) {axis=1, indices=[2]}  ->  %k = take(%keys) {axis=1, indices=[2]}; embedding(%k)"""
    lookups = [node for node in graph if isinstance(node.op, Lookup) and not node.op.apart]
    return +Fires({"prune_slots": sum(_prune(node) for node in lookups)})


def _prune(node: Node) -> int:
    pooled = node.results[0]
    _, slots, width = pooled.type.shape
    assert isinstance(slots, int)
    assert isinstance(width, int)
    readers = [_Reader.of(use, slots, width) for use in pooled.uses]
    if not readers or any(reader is None for reader in readers):
        return 0
    known = [reader for reader in readers if reader is not None]
    needed = sorted({slot for reader in known for slot in reader.slots})
    if len(needed) == slots:
        return 0
    _rebuild(node, needed, known, width)
    return 1


class _Reader:
    """One use of an embedding that takes some slots only."""

    def __init__(self, node: Node, slots: Sequence[int]):
        self.node = node
        self.slots = slots

    @staticmethod
    def of(use: Use, slots: int, width: int) -> _Reader | None:
        """Return the slots that a use takes, or None if it may take all of them."""
        op = use.node.op
        if isinstance(op, Take) and op.axis == 1:
            return _Reader(use.node, op.indices)
        if isinstance(op, Slice) and op.axis == 1:
            return _Reader(use.node, range(op.start, op.end))
        # Otherwise a Reshape must put all slots of a sample side by side, so that columns belong to slots.
        flat = use.node.results[0] if isinstance(op, Reshape) else None
        if flat is None or flat.type.rank != 2 or flat.type.shape[1] != slots * width:
            return None
        # Each of its readers must cut columns out: any other reader needs every slot.
        cuts = [other.node.op for other in flat.uses]
        taken = [cut for cut in cuts if isinstance(cut, Slice) and cut.axis == 1]
        if not cuts or len(taken) < len(cuts):
            return None
        # A cut that begins or ends inside a slot needs the whole slot.
        return _Reader(use.node, sorted({s for c in taken for s in range(c.start // width, (c.end - 1) // width + 1)}))


def _rebuild(node: Node, needed: list[int], readers: list[_Reader], width: int) -> None:
    graph = node.graph
    place = {slot: position for position, slot in enumerate(needed)}
    with graph.building(*node.sources):
        keys = Take(1, tuple(needed))(node.inputs[0])
        assert isinstance(node.op, Lookup)
        pooled = graph.add(node.op.take_slots(needed), keys, *node.inputs[1:], name=node.name)
    for reader in readers:
        with graph.building(*reader.node.sources):
            _reread(reader, pooled, place, width)
    graph.erase_dead(node)


def _reread(reader: _Reader, pooled: Value, place: dict[int, int], width: int) -> None:
    node, graph = reader.node, pooled.graph
    old = node.results[0]
    if not isinstance(node.op, Reshape):
        graph.replace(old, Take(1, tuple(place[slot] for slot in reader.slots))(pooled))
        graph.erase_dead(node)
        return
    flat = Reshape((pooled.type.shape[0], len(place) * width))(pooled)
    for use in old.uses:
        cut, sliced = use.node.op, use.node.results[0]
        assert isinstance(cut, Slice)
        graph.replace(sliced, _recut(cut, flat, place, width))
        graph.erase_dead(use.node)


def _recut(cut: Slice, flat: Value, place: dict[int, int], width: int) -> Value:
    """Return the same columns in the narrower embedding: the slots of one Slice are neighbours there too."""
    start = place[cut.start // width] * width + cut.start % width
    return Slice(1, start, start + cut.end - cut.start)(flat)
