"""Fold an addition into one of the linears that it adds up.

x @ w + b + x = x @ (w + I) + b
(c @ v + a) + (x @ w + b) = c @ v + (x @ w + (a + b)): one product is added to the result of the other
"""

from __future__ import annotations

import numpy as np

from hugectr2onnx.ir.graph import Graph, Value
from hugectr2onnx.ir.ops.linear import Accumulate, Linear
from hugectr2onnx.passes.analysis.products import exact, multiply, rounded
from hugectr2onnx.passes.pattern import P, Var
from hugectr2onnx.passes.rewriter import Fires, apply, rule

X, W, B = Var("x"), Var("w", const=True), Var("b", const=True)
LINEAR = P(Linear, X, W, B, name="linear")
FIRST = P(Linear, Var("c"), Var("v", const=True), Var("a", const=True), name="first")


@rule(LINEAR + X)
def fold_shortcut(x: Value, w: Value, b: Value, linear: Value) -> Value | None:
    """linear(x, w, b) + x  ->  linear(x, w + I, b)"""
    if linear.op != Linear() or linear.type != x.type:
        return None
    weight = exact(w)
    return multiply(x, weight + np.eye(len(weight)), exact(b))


@rule(FIRST + LINEAR)
def add_product(
    c: Value, v: Value, a: Value, x: Value, w: Value, b: Value, first: Value, linear: Value
) -> Value | None:
    """linear(c, v, a) + linear(x, w, b)  ->  accumulate(c, v, linear(x, w, a + b))"""
    bias = rounded(exact(a) + exact(b))
    if not first.op == linear.op == Linear() or first.type != linear.type or first.type.rank != 2 or bias is None:
        return None
    return Accumulate()(c, v, linear.op(x, w, c.graph.const(bias)))


def fold_add_into_linear(graph: Graph) -> Fires:
    """%f = linear(%x, %w, %b); %y = add(%f, %x)  ->  %y = linear(%x, %w', %b)"""
    return apply(graph, [fold_shortcut, add_product])
