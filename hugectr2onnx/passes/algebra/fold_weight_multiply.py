"""Fold WeightMultiply into what follows, so that the multiplied columns never exist.

With x [B, S] and vectors V [S, V], the columns are `x[i] * V[i, j]`, so a product with a weight W [S*V, n] is
`x @ (sum_j V[i, j] * W[i*V + j])`, and their sum is `x @ V.sum(1)`.
"""

from __future__ import annotations

import numpy as np

from hugectr2onnx.ir.graph import Graph, Value
from hugectr2onnx.ir.ops.linear import Linear, MatMul
from hugectr2onnx.ir.ops.reduce import ReduceSum
from hugectr2onnx.ir.ops.shape import Concat, Reshape
from hugectr2onnx.passes import cost
from hugectr2onnx.passes.analysis.columns import Part, columns_of, rows, side_by_side
from hugectr2onnx.passes.analysis.products import Product, multiply
from hugectr2onnx.passes.pattern import P
from hugectr2onnx.passes.rewriter import Fires, apply, rule

READERS = (Linear, MatMul, ReduceSum, Reshape)
"""What can do without a Concat of multiplied columns; a Reshape leads to a factorization machine."""


@rule(P(Linear))
def fold_into_linear(root: Value) -> Value | None:
    """linear(concat(e, weight_multiply(x, V)), w, b)  ->  linear(concat(e, x), w', b)"""
    return _fold(root)


@rule(P(MatMul))
def fold_into_product(root: Value) -> Value | None:
    """mat_mul(concat(e, weight_multiply(x, V)), w)  ->  mat_mul(concat(e, x), w')"""
    return _fold(root)


def _fold(root: Value) -> Value | None:
    product = Product.of(root)
    if product is None or product.x.type.rank != 2:
        return None
    parts = columns_of(product.x)
    if not _has_expansion(parts) or not (_is_dispensable(product.x) or cost.is_worth_joining_again(product.shape[1])):
        return None
    return product.on(side_by_side(parts), rows(parts, product.weight), product.bias)


@rule(P(ReduceSum))
def fold_into_sum(root: Value) -> Value | None:
    """reduce_sum(concat(e, weight_multiply(x, V)))  ->  mat_mul(concat(e, x), [1; V.sum(1)])"""
    (x,), op = root.inputs, root.op
    assert isinstance(op, ReduceSum)
    if x.type.rank != 2 or op.axis != 1 or not isinstance(x.type.shape[1], int):
        return None
    parts = columns_of(x)
    if not _has_expansion(parts):
        return None
    total = multiply(side_by_side(parts), rows(parts, np.ones((x.type.shape[1], 1))))
    return total if total is None or op.keepdims else Reshape(root.shape)(total)


def _has_expansion(parts: list[Part]) -> bool:
    return any(part.vectors is not None for part in parts)


def _is_dispensable(x: Value) -> bool:
    return not isinstance(x.op, Concat) or all(isinstance(use.node.op, READERS) for use in x.uses)


def fold_weight_multiply(graph: Graph) -> Fires:
    """%m = reshape(mul(reshape(%x), %V)); %y = linear(concat(%e, %m), %w, %b)  ->  %y = linear(concat(%e, %x), %w', %b)"""
    return apply(graph, [fold_into_linear, fold_into_product, fold_into_sum])
