"""Replace the Slices that together cover an axis by one Split."""

from __future__ import annotations

from hugectr2onnx.ir.graph import Graph, Node, Value
from hugectr2onnx.ir.ops.shape import Slice
from hugectr2onnx.ir.ops.split import Split
from hugectr2onnx.passes.rewriter import Fires


def split_slices(graph: Graph) -> Fires:
    """%a = slice(%x) {0, 2}; %b = slice(%x) {2, 5}  ->  %a, %b = split(%x) {sizes=[2, 3]}, if that is all of x"""
    values = [value for node in graph for value in node.results if value.const is None]
    merged = 0
    while values:
        value = values.pop()
        pieces = _split(value) if value.node in graph else ()
        merged += bool(pieces)
        values += pieces
    return +Fires({"split_slices": merged})


def _split(x: Value) -> tuple[Value, ...]:
    """Return the pieces, if Slices were replaced."""
    cuts = _partition([use.node for use in x.uses])
    if not cuts:
        return ()
    graph, ops = x.graph, [cut.op for cut in cuts]
    sizes = tuple(op.end - op.start for op in ops if isinstance(op, Slice))
    axis = next(op.axis for op in ops if isinstance(op, Slice))
    with graph.building(*dict.fromkeys(source for cut in cuts for source in cut.sources)):
        pieces = Split(axis, sizes)(x).node.results
    for cut, piece in zip(cuts, pieces, strict=True):
        graph.replace(cut.results[0], piece)
        graph.erase(cut)
    return pieces


def _partition(users: list[Node]) -> list[Node]:
    """Return the Slices among the users, in order, if together they take each position of one axis once."""
    slices = [(user.op, user) for user in users if isinstance(user.op, Slice)]
    axes = {op.axis for op, _ in slices}
    if len(slices) < 2 or len(axes) > 1:
        return []
    ordered = sorted(slices, key=lambda pair: pair[0].start)
    length = ordered[0][1].inputs[0].type.shape[axes.pop()]
    edges = [0, *(op.end for op, _ in ordered)]
    fits = all(op.start == edge for (op, _), edge in zip(ordered, edges, strict=False)) and edges[-1] == length
    return [user for _, user in ordered] if fits else []
