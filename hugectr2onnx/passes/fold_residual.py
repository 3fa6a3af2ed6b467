"""What a linear is added to, where that is its own operand, is an identity in its weight.

x @ w + b + x = x @ (w + I) + b
"""

from __future__ import annotations

import numpy as np

from hugectr2onnx.ir.graph import Graph, Value
from hugectr2onnx.ir.ops.elementwise import Add
from hugectr2onnx.ir.ops.linear import Linear
from hugectr2onnx.ir.pattern import P, Var
from hugectr2onnx.passes.products import exact, multiply
from hugectr2onnx.passes.rewriter import Fires, apply, rule

X, W, B = Var("x"), Var("w", const=True), Var("b", const=True)


@rule(P(Add, P(Linear, X, W, B, name="linear"), X))
def fold_shortcut(x: Value, w: Value, b: Value, linear: Value) -> Value | None:
    """linear(x, w, b) + x  ->  linear(x, w + I, b)"""
    if linear.op != Linear() or linear.type != x.type:
        return None
    weight = exact(w)
    return multiply(x, weight + np.eye(len(weight)), exact(b))


def fold_residual(graph: Graph) -> Fires:
    """%f = linear(%x, %w, %b); %y = add(%f, %x)  ->  %y = linear(%x, %w', %b)"""
    return apply(graph, [fold_shortcut])
