"""Softmaxes over equal pieces of one matrix as one Softmax: the gates of a mixture of experts (MMoE).

split(x) {sizes=[k, k]}, a softmax of each  =  split(softmax(x as [N, 2, k]) as [N, 2 k])
"""

from __future__ import annotations

from hugectr2onnx.ir.graph import Graph, Node, Value
from hugectr2onnx.ir.ops.reduce import Softmax
from hugectr2onnx.ir.ops.shape import Reshape
from hugectr2onnx.ir.ops.split import Split
from hugectr2onnx.passes.rewriter import Fires


def merge_softmaxes(graph: Graph) -> Fires:
    """%a, %b = split(%x); softmax(%a); softmax(%b)  ->  %a, %b = split(reshape(softmax(reshape(%x))))"""
    splits = [node for node in graph if isinstance(node.op, Split)]
    return +Fires({"merge_softmaxes": sum(_merge(node) for node in splits if node in graph)})


def _merge(split: Node) -> int:
    op, x = split.op, split.inputs[0]
    assert isinstance(op, Split)
    # Pieces of one size are the rows of [N, pieces, size], over whose last axis one Softmax can go.
    if op.axis != 1 or x.type.rank != 2 or len(set(op.sizes)) > 1:
        return 0
    softmaxes = [_only_reader(piece) for piece in split.results]
    # A piece that is read otherwise too would keep the Split, and its Softmax would save nothing.
    if not all(softmaxes):
        return 0
    graph, batch, pieces = split.graph, x.shape[0], [p for s in softmaxes if s for p in _pieces(s)]
    readers = [softmax.node for softmax in softmaxes if softmax]
    with graph.building(*dict.fromkeys(source for reader in readers for source in reader.sources)):
        together = Softmax()(Reshape((batch, len(op.sizes), op.sizes[0]))(x))
        sizes = tuple(length for length in (piece.shape[1] for piece in pieces) if isinstance(length, int))
        merged = Split(1, sizes)(Reshape(x.shape)(together)).node.results
    for old, new in zip(pieces, merged, strict=True):
        graph.replace(old, new)
    for old in pieces:
        if old.node in graph:  # several pieces can come from one Split, which goes with the first
            graph.erase_dead(old.node)
    return len(readers) - 1


def _only_reader(piece: Value) -> Value | None:
    """Return the Softmax of a piece, if that is all that happens to it and its result is no prediction."""
    reader = piece.uses[0].node if piece.has_one_use else None
    if reader is None or not isinstance(reader.op, Softmax):
        return None
    softmax = reader.results[0]
    return None if any(use.node is piece.graph.sink for use in softmax.uses) else softmax


def _pieces(softmax: Value) -> list[Value]:
    """Tell what the softmax is split into, if that is all that happens to it, or the softmax."""
    user = softmax.uses[0].node if softmax.has_one_use else None
    if user is not None and isinstance(user.op, Split) and user.op.axis == 1:
        return list(user.results)
    return [softmax]
