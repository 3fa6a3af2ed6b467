"""Look-ups that leave shaping to the Reshape behind them.

A gather by keys [N, slot, 1] gives [N, slot, 1, vec]. Where a Reshape follows anyhow, directly or behind a Split of the
vectors, another one to take the axis of length 1 away only costs a node.
"""

from __future__ import annotations

from dataclasses import replace

from hugectr2onnx.ir.graph import Graph, Node, Value
from hugectr2onnx.ir.ops.lookup import Lookup
from hugectr2onnx.ir.ops.pooling import is_apart_for_free
from hugectr2onnx.ir.ops.shape import Reshape
from hugectr2onnx.ir.ops.split import Split
from hugectr2onnx.passes.rewriter import Fires


def shape_lookups(graph: Graph) -> Fires:
    """%e = embedding(%k); reshape(%e) {shape=[N, 416]}  ->  %e = embedding(%k) {apart=True}; reshape(%e) {shape=[N, 416]}"""
    lookups = [node for node in graph if isinstance(node.op, Lookup)]
    return +Fires({"shape_lookups": sum(_spread(node) for node in lookups)})


def _spread(node: Node) -> int:
    op, pooled, keys = node.op, node.results[0], node.inputs[0]
    assert isinstance(op, Lookup)
    width = pooled.shape[-1]
    assert isinstance(width, int)
    # Fused rows are flat when they become floats.
    if op.apart or op.row_format.is_fused or not is_apart_for_free(keys.type, width, op.combiner == "mean"):
        return 0
    readers = [use.node for use in pooled.uses]
    if not readers or not all(_is_reshape(reader) or _is_split_and_reshaped(reader) for reader in readers):
        return 0
    graph = node.graph
    with graph.building(*node.sources):
        apart = graph.add(replace(op, apart=True), *node.inputs, name=node.name)
    for reader in readers:
        _read(reader, apart)
    graph.erase_dead(node)
    return 1


def _is_reshape(reader: Node) -> bool:
    return isinstance(reader.op, Reshape)


def _is_split_and_reshaped(reader: Node) -> bool:
    splits_vectors = isinstance(reader.op, Split) and reader.op.axis == 2
    return splits_vectors and all(_is_reshape(use.node) for piece in reader.results for use in piece.uses)


def _read(reader: Node, apart: Value) -> None:
    graph = reader.graph
    with graph.building(*reader.sources):
        if isinstance(reader.op, Split):
            pieces = Split(3, reader.op.sizes)(apart).node.results
        else:
            pieces = reader.op(apart).node.results
    for old, new in zip(reader.results, pieces, strict=True):
        graph.replace(old, new)
    graph.erase(reader)
