"""Flatten a linear on [batch, s, k] to [batch * s, k], so that one Gemm adds the bias and applies the activation.

Gemm first copies the bias into the result and then adds the product. For a long result that is one pass over memory more than
MatMul and Add take, so long results keep these.
"""

from __future__ import annotations

from fractions import Fraction

from hugectr2onnx.ir.graph import Graph, Value
from hugectr2onnx.ir.ops.linear import Linear
from hugectr2onnx.ir.ops.shape import Reshape
from hugectr2onnx.ir.types import Batch, Dim, scale
from hugectr2onnx.passes import cost
from hugectr2onnx.passes.pattern import P, Var
from hugectr2onnx.passes.rewriter import Fires, apply, rule


@rule(P(Linear, Var("x"), Var("w"), Var("b")))
def flatten_linear(x: Value, w: Value, b: Value, root: Value) -> Value | None:
    """linear(x, w, b) on [N, s, k]  ->  reshape(linear(reshape(x), w, b))"""
    k, n = w.type.shape
    size = root.type.elements
    if x.type.rank < 3 or not isinstance(k, int) or not isinstance(n, int) or n > k:
        return None
    if not isinstance(size, Batch) or not cost.is_worth_flattening(float(size.factor)):
        return None
    rows: Dim = scale(size, Fraction(1, n))
    return Reshape(root.shape)(root.op(Reshape((rows, k))(x), w, b))


def flatten_linears(graph: Graph) -> Fires:
    """%y = linear(%x, %w, %b) : [N, s, n]  ->  %y = reshape(linear(reshape(%x), %w, %b))"""
    return apply(graph, [flatten_linear])
