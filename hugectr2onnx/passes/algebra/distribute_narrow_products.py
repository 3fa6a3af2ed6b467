"""Move what would copy or scale the long operand of a product with few columns behind the product.

Such a product costs what reading its operand costs.

concat(a, b) @ [Wa; Wb]  =  a @ Wa + b @ Wb
(s * x) @ W              =  s * (x @ W)          s being one number a row
"""

from __future__ import annotations

from itertools import accumulate

import numpy as np

from hugectr2onnx.ir.graph import Graph, Value
from hugectr2onnx.ir.ops.elementwise import Mul
from hugectr2onnx.ir.ops.linear import Linear
from hugectr2onnx.ir.ops.shape import Concat
from hugectr2onnx.passes import cost
from hugectr2onnx.passes.analysis.products import Product, multiply
from hugectr2onnx.passes.pattern import P, Var
from hugectr2onnx.passes.rewriter import Fires, apply, rule


def _narrow(root: Value) -> Product | None:
    product = Product.of(root)
    if product is None or not product.is_plain or product.x.type.rank != 2:
        return None
    k, n = product.shape
    return product if cost.is_narrow_product(k, n) else None


def _distribute(joined: Value, root: Value) -> Value | None:
    product = _narrow(root)
    op, parts = joined.op, joined.inputs
    assert isinstance(op, Concat)
    if product is None or op.axis != 1 or root.inputs[0] != joined or not cost.is_worth_distributing(len(parts)):
        return None
    lengths = [part.type.shape[1] for part in parts]
    ends = list(accumulate(length for length in lengths if isinstance(length, int)))
    weights = np.split(product.weight, ends[:-1])
    total = multiply(parts[-1], weights[-1], product.bias)
    for part, weight in zip(parts[-2::-1], weights[-2::-1], strict=True):
        term = multiply(part, weight)
        total = None if total is None or term is None else term + total
    return total


@rule(P(Linear, P(Concat, name="joined"), Var("w"), Var("b")))
def distribute_linear(joined: Value, root: Value) -> Value | None:
    """linear(concat(a, b), w, bias)  ->  a @ wa + linear(b, wb, bias)"""
    return _distribute(joined, root)


@rule(P(Concat, name="joined") @ Var("w"))
def distribute_product(joined: Value, root: Value) -> Value | None:
    """mat_mul(concat(a, b), w)  ->  a @ wa + b @ wb"""
    return _distribute(joined, root)


def _scale_later(scaled: Value, root: Value) -> Value | None:
    product = _narrow(root)
    if product is None or root.inputs[0] != scaled:
        return None
    for scale, x in (scaled.inputs, scaled.inputs[::-1]):
        if x.type == scaled.type and scale.shape == (x.shape[0], 1) and scale.const is None:
            shorter = multiply(x, product.weight)
            if shorter is None:
                return None
            result: Value = scale * shorter
            return result if product.bias is None else result + x.graph.const(product.bias.astype(np.float32)[None])
    return None


@rule(P(Linear, P(Mul, name="scaled"), Var("w"), Var("b")))
def scale_after_linear(scaled: Value, root: Value) -> Value | None:
    """linear(mul(s, x), w, b)  ->  s * (x @ w) + b, for s of one column"""
    return _scale_later(scaled, root)


@rule(P(Mul, name="scaled") @ Var("w"))
def scale_after_product(scaled: Value, root: Value) -> Value | None:
    """mat_mul(mul(s, x), w)  ->  s * (x @ w), for s of one column"""
    return _scale_later(scaled, root)


def distribute_narrow_products(graph: Graph) -> Fires:
    """%c = concat(%a, %b); %y = linear(%c, %w, %bias)  ->  %y = add(mat_mul(%a, %wa), linear(%b, %wb, %bias))"""
    return apply(graph, [distribute_linear, distribute_product, scale_after_linear, scale_after_product])
