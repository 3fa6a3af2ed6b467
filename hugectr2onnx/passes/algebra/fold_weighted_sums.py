"""Sums of what weights multiply are products of matrices, or sums that come first.

sum_t p[n, t, 1] * h[n, t, d] = p[n, 1, t] @ h[n, t, d]
sum_(t, d) p[n, t] * h[n, t, d] = sum_t p[n, t] * (sum_d h[n, t, d])
"""

from __future__ import annotations

from hugectr2onnx.ir.graph import Graph, Value
from hugectr2onnx.ir.ops.reduce import ReduceSum
from hugectr2onnx.ir.ops.shape import Reshape
from hugectr2onnx.ir.types import elements
from hugectr2onnx.passes.pattern import P, Var
from hugectr2onnx.passes.rewriter import Fires, apply, rule

WEIGHTS, ITEMS = Var("weights"), Var("items")


def _are_weighted(weights: Value, items: Value) -> bool:
    """[B, t, 1] and [B, t, d]: one weight an item."""
    return items.type.rank == 3 and weights.shape == (*items.shape[:2], 1) and weights.type != items.type


@rule(P(ReduceSum, WEIGHTS * ITEMS))
def fold_sum_of_items(weights: Value, items: Value, root: Value) -> Value | None:
    """reduce_sum(weights * items) {axis=1}  ->  reshape(weights) @ items"""
    op = root.op
    assert isinstance(op, ReduceSum)
    if op.axis != 1 or not _are_weighted(weights, items):
        return None
    batch, count, _ = items.shape
    product = Reshape((batch, 1, count))(weights) @ items
    return product if op.keepdims else Reshape(root.shape)(product)


@rule(P(ReduceSum, P(Reshape, WEIGHTS * ITEMS, name="flat")))
def sum_items_first(weights: Value, items: Value, flat: Value, root: Value) -> Value | None:
    """reduce_sum(reshape(weights * items)) {axis=1}  ->  reduce_sum(reshape(weights) * reduce_sum(items) {axis=2}) {axis=1}"""
    op = root.op
    assert isinstance(op, ReduceSum)
    if op.axis != 1 or flat.type.rank != 2 or not _are_weighted(weights, items):
        return None
    batch, count, _ = items.shape
    if flat.shape != (batch, elements(items.shape[1:])):
        return None
    sums = ReduceSum(2, keepdims=False)(items)
    return op(Reshape((batch, count))(weights) * sums)


def fold_weighted_sums(graph: Graph) -> Fires:
    """%m = mul(%p, %h); %s = reduce_sum(%m) {axis=1}  ->  %s = mat_mul(reshape(%p), %h)"""
    return apply(graph, [fold_sum_of_items, sum_items_first])
