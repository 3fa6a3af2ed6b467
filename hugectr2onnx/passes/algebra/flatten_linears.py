"""A linear on [batch, s, k] as one on [batch * s, k]: Gemm adds the bias, and the activation with it, while it writes.

Gemm lays the bias down first and adds the product to it. Where the result is long that is one pass too many over memory, so
long results keep their MatMul and Add.
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
