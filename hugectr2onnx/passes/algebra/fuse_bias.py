"""A matrix product and its bias become one linear."""

from __future__ import annotations

from hugectr2onnx.ir.graph import Graph, Value
from hugectr2onnx.ir.ops.linear import Linear
from hugectr2onnx.passes.pattern import Var
from hugectr2onnx.passes.rewriter import Fires, apply, rule

X, W, B = Var("x"), Var("w", const=True), Var("b", const=True)


@rule(X @ W + B)
def fuse_matmul_add(x: Value, w: Value, b: Value) -> Value | None:
    """add(mat_mul(x, w), b)  ->  linear(x, w, b)"""
    fits = w.type.rank == 2 and b.type.shape == w.type.shape[1:]
    return Linear()(x, w, b) if fits else None


def fuse_bias(graph: Graph) -> Fires:
    """%a = mat_mul(%x, %w); %y = add(%a, %b)  ->  %y = linear(%x, %w, %b)"""
    return apply(graph, [fuse_matmul_add])
