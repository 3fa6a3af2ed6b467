"""Fold what is linear around a product with constant weights into its weights.

(x @ W1 + b1) @ W2 + b2  =  x @ (W1 W2) + (b1 W2 + b2)
(x @ W + b) * s + t      =  x @ (W * s) + (b * s + t)
(x * s + t) @ W + b      =  x @ (s[:, None] * W) + (t W + b)
"""

from __future__ import annotations

import numpy as np

from hugectr2onnx.ir.graph import Graph, Value
from hugectr2onnx.ir.ops.elementwise import Add, Mul
from hugectr2onnx.ir.ops.linear import Linear, MatMul
from hugectr2onnx.ir.types import Array
from hugectr2onnx.passes.analysis.products import Product, across_last, multiply, plus
from hugectr2onnx.passes.pattern import P, Var
from hugectr2onnx.passes.rewriter import Fires, apply, rule

X, C = Var("x"), Var("c", const=True)
MAX_SHIFT = 64.0
"""Up to where `x @ W` and `t @ W` may be rounded apart from one another: they cancel where x is about -t."""


def _merge(first: Value, root: Value) -> Value | None:
    inner, outer = Product.of(first), Product.of(root)
    if inner is None or outer is None or not inner.is_plain or root.inputs[0] != first:
        return None
    (k, middle), (_, n) = inner.shape, outer.shape
    if k * n > k * middle + middle * n:
        return None
    weight = outer.weight
    bias = None if inner.bias is None else inner.bias @ weight
    return outer.on(inner.x, inner.weight @ weight, plus(bias, outer.bias))


@rule(P(Linear, P(Linear, name="first"), Var("w"), Var("b")))
def merge_linears(first: Value, root: Value) -> Value | None:
    """linear(linear(x, w1, b1), w2, b2)  ->  linear(x, w1 @ w2, b1 @ w2 + b2), where that is no more work"""
    return _merge(first, root)


@rule(P(Linear, P(MatMul, name="first"), Var("w"), Var("b")))
def merge_product_into_linear(first: Value, root: Value) -> Value | None:
    """linear(mat_mul(x, w1), w2, b2)  ->  linear(x, w1 @ w2, b2), where that is no more work"""
    return _merge(first, root)


@rule(P(Linear, name="first") @ Var("w"))
def merge_linear_into_product(first: Value, root: Value) -> Value | None:
    """mat_mul(linear(x, w1, b1), w2)  ->  linear(x, w1 @ w2, b1 @ w2), where that is no more work"""
    return _merge(first, root)


@rule(P(MatMul, name="first") @ Var("w"))
def merge_products(first: Value, root: Value) -> Value | None:
    """mat_mul(mat_mul(x, w1), w2)  ->  mat_mul(x, w1 @ w2), where that is no more work"""
    return _merge(first, root)


def _finish(first: Value, c: Value, root: Value) -> Value | None:
    """Return a product that is then scaled, or shifted."""
    product = Product.of(first)
    if product is None or not product.is_plain or root.type != first.type:
        return None
    row = across_last(c, product.shape[1])
    if row is None:
        return None
    if isinstance(root.op, Add):
        return product.on(product.x, product.weight, plus(product.bias, row))
    return product.on(product.x, product.weight * row, None if product.bias is None else product.bias * row)


@rule(P(Linear, name="first") * C)
def scale_linear(first: Value, c: Value, root: Value) -> Value | None:
    """mul(linear(x, w, b), c)  ->  linear(x, w * c, b * c)"""
    return _finish(first, c, root)


@rule(P(MatMul, name="first") * C)
def scale_product(first: Value, c: Value, root: Value) -> Value | None:
    """mul(mat_mul(x, w), c)  ->  mat_mul(x, w * c)"""
    return _finish(first, c, root)


@rule(P(Linear, name="first") + C)
def shift_linear(first: Value, c: Value, root: Value) -> Value | None:
    """add(linear(x, w, b), c)  ->  linear(x, w, b + c)"""
    return _finish(first, c, root)


def _begin(x: Value, c: Value, before: Value, root: Value) -> Value | None:
    """Return a product whose operand was scaled, or shifted."""
    product = Product.of(root)
    if product is None or product.x != before or x.type != before.type:
        return None
    row = across_last(c, product.shape[0])
    if row is None:
        return None
    if isinstance(before.op, Mul):
        return product.on(x, row[:, None] * product.weight, product.bias)
    return _shift(x, row, product)


def _shift(x: Value, row: Array, product: Product) -> Value | None:
    if np.abs(row).max() > MAX_SHIFT:
        return None
    weight = product.weight
    return multiply(x, weight, plus(product.bias, row @ weight), product.activation)


@rule(P(Linear, P(Mul, X, C, name="before"), Var("w"), Var("b")))
def linear_of_scaled(x: Value, c: Value, before: Value, root: Value) -> Value | None:
    """linear(mul(x, c), w, b)  ->  linear(x, c[:, None] * w, b)"""
    return _begin(x, c, before, root)


@rule(P(MatMul, P(Mul, X, C, name="before"), Var("w")))
def product_of_scaled(x: Value, c: Value, before: Value, root: Value) -> Value | None:
    """mat_mul(mul(x, c), w)  ->  mat_mul(x, c[:, None] * w)"""
    return _begin(x, c, before, root)


@rule(P(Linear, P(Add, X, C, name="before"), Var("w"), Var("b")))
def linear_of_shifted(x: Value, c: Value, before: Value, root: Value) -> Value | None:
    """linear(add(x, c), w, b)  ->  linear(x, w, c @ w + b)"""
    return _begin(x, c, before, root)


@rule(P(MatMul, P(Add, X, C, name="before"), Var("w")))
def product_of_shifted(x: Value, c: Value, before: Value, root: Value) -> Value | None:
    """mat_mul(add(x, c), w)  ->  linear(x, w, c @ w)"""
    return _begin(x, c, before, root)


RULES = (
    merge_linears,
    merge_product_into_linear,
    merge_linear_into_product,
    merge_products,
    scale_linear,
    scale_product,
    shift_linear,
    linear_of_scaled,
    product_of_scaled,
    linear_of_shifted,
    product_of_shifted,
)


def fold_linear_chains(graph: Graph) -> Fires:
    """%h = linear(%x, %w1, %b1); %y = linear(%h, %w2, %b2)  ->  %y = linear(%x, %w1 @ %w2, %b1 @ %w2 + %b2)"""
    return apply(graph, RULES)
