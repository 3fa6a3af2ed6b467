"""Layer normalization as ONNX's own operator, row by row.

onnxruntime fuses an Add before a LayerNormalization of three dimensions into an operator that is slower than both, so the
operator gets matrices only.
"""

from __future__ import annotations

from dataclasses import replace

from hugectr2onnx.ir.graph import Graph, Value
from hugectr2onnx.ir.ops.normalization import LayerNormalization
from hugectr2onnx.ir.ops.shape import Reshape
from hugectr2onnx.ir.types import elements
from hugectr2onnx.passes.pattern import P
from hugectr2onnx.passes.rewriter import Fires, apply, rule


@rule(P(LayerNormalization))
def use_layer_norm_operator(root: Value) -> Value | None:
    """layer_normalization(x)  ->  reshape(layer_normalization(reshape(x)) {fused=True})"""
    op = root.op
    assert isinstance(op, LayerNormalization)
    x, gamma, beta = root.inputs
    if op.fused or x.type.rank < 2:
        return None
    fused = replace(op, fused=True)
    if x.type.rank == 2:
        return fused(x, gamma, beta)
    rows = Reshape((elements(x.shape[:-1]), x.shape[-1]))(x)
    return Reshape(x.shape)(fused(rows, gamma, beta))


def fuse_layer_norm(graph: Graph) -> Fires:
    """%y = layer_normalization(%x, %g, %b)  ->  %y = layer_normalization(%x, %g, %b) {fused=True}, on matrices"""
    return apply(graph, [use_layer_norm_operator])
