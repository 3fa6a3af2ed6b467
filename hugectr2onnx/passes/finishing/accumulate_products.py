"""A product of matrices on top of what it is added to, as one Gemm.

onnxruntime does the same to a MatMul and an Add, but only where it can infer that the two have the same number of rows,
which a Reshape hides from it.
"""

from __future__ import annotations

from hugectr2onnx.ir.graph import Graph, Value
from hugectr2onnx.ir.ops.linear import Accumulate
from hugectr2onnx.passes.pattern import Var
from hugectr2onnx.passes.rewriter import Fires, apply, rule


@rule(Var("x") @ Var("w", const=True) + Var("c"))
def accumulate_product(x: Value, w: Value, c: Value, root: Value) -> Value | None:
    """add(mat_mul(x, w), c)  ->  accumulate(x, w, c)"""
    fits = x.type.rank == 2 and c.type == root.type and c.const is None
    return Accumulate()(x, w, c) if fits else None


def accumulate_products(graph: Graph) -> Fires:
    """%p = mat_mul(%x, %w); %y = add(%p, %c)  ->  %y = accumulate(%x, %w, %c)"""
    return apply(graph, [accumulate_product])
