"""Order the terms of a sum so that each matrix product is added to the sum before it.

onnxruntime fuses a MatMul and the Add of its result into one Gemm. In a sum of two MatMuls it can fuse only one of them.
"""

from __future__ import annotations

from hugectr2onnx.ir.graph import Graph, Value
from hugectr2onnx.ir.ops.linear import MatMul
from hugectr2onnx.passes.pattern import P, Var
from hugectr2onnx.passes.rewriter import Fires, apply, rule

PRODUCT, OTHER_PRODUCT = P(MatMul, name="p"), P(MatMul, name="q")


@rule(Var("x") + (PRODUCT + OTHER_PRODUCT))
def reassociate_sum(x: Value, p: Value, q: Value, root: Value) -> Value | None:
    """x + (a @ v + b @ w)  ->  a @ v + (x + b @ w)"""
    if isinstance(x.op, MatMul) or not x.type == p.type == q.type == root.type or x.type.rank != 2:
        return None
    result: Value = p + (x + q)
    return result


def reassociate_sums(graph: Graph) -> Fires:
    """%s = add(%p, %q); %y = add(%x, %s)  ->  %s = add(%x, %q); %y = add(%p, %s), %p and %q being matrix products"""
    return apply(graph, [reassociate_sum])
