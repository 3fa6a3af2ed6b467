"""Attention in the fewest and fastest standard operators.

The mask is added to the scores once for all heads, and one Softmax replaces six operators: since the sum of a softmax is
at least 1, leaving out the 1e-6 that HugeCTR adds to it changes a weight by 1e-6 of itself at most. The addition rounds the
scores of rows that are masked altogether to 1/1024, as HugeCTR's does. Moving the steps of
narrow heads to the end copies numbers in long runs, where heads before steps would copy `d` numbers at a time; what is
left of the transposes, a swap of the last two dimensions, is one that runtimes take into the matrix product.
"""

from __future__ import annotations

from hugectr2onnx.ir.graph import Graph, Value
from hugectr2onnx.ir.ops.attention import DROPPED, Attention, MaskedSoftmax, MaskScores, head_width
from hugectr2onnx.ir.ops.reduce import Softmax
from hugectr2onnx.ir.ops.sequence_mask import SequenceBias, SequenceMask
from hugectr2onnx.ir.ops.shape import Reshape, Transpose
from hugectr2onnx.ir.types import Dim, scale
from hugectr2onnx.passes import cost
from hugectr2onnx.passes.analysis.products import Product, multiply
from hugectr2onnx.passes.pattern import P
from hugectr2onnx.passes.rewriter import Fires, Rule, apply, rule


@rule(P(Attention))
def expand_heads(root: Value) -> Value | None:
    """attention(q, k, v, mask)  ->  masked_softmax(q @ k^T / sqrt(d), mask) @ v, heads split and merged around it"""
    q, k, v, *mask = root.inputs
    op = root.op
    assert isinstance(op, Attention)
    lengths = [length for length in (q.shape[1], k.shape[1]) if isinstance(length, int)]
    if len(lengths) < 2:
        return None
    width = head_width(q.type, op.heads)
    keys, divisor = _scale_keys(k, width**0.5)
    return (_steps_last if cost.is_worth_moving_steps(width, *lengths) else _heads_first)(op, q, keys, v, mask, divisor)


def _scale_keys(k: Value, divisor: float) -> tuple[Value, float]:
    """Divide the keys in the weights of the linear that makes them, if nobody else reads them; else return the divisor."""
    made = k.inputs[0] if isinstance(k.op, Reshape) else k
    product = Product.of(made) if made.has_one_use and k.has_one_use else None
    if product is None or not product.is_plain:
        return k, divisor
    bias = None if product.bias is None else product.bias / divisor
    scaled = multiply(product.x, product.weight / divisor, bias)
    if scaled is None:
        return k, divisor
    return (scaled if made == k else k.op(scaled)), 1.0


def _divided(products: Value, divisor: float) -> Value:
    return products if divisor == 1 else products / divisor


def _steps_last(op: Attention, q: Value, k: Value, v: Value, mask: list[Value], divisor: float) -> Value:
    batch, steps, _ = q.shape
    width = head_width(q.type, op.heads)
    queries, keys, values = (Transpose((0, 2, 3, 1))(_split(op, x)) for x in (q, k, v))
    every_head = scale(batch, op.heads)
    flat_queries = Reshape((every_head, width, steps))(queries)
    flat_keys = Reshape((every_head, width, k.shape[1]))(keys)
    products = Transpose((0, 2, 1))(flat_queries) @ flat_keys
    scores = Reshape((batch, op.heads, steps, k.shape[1]))(_divided(products, divisor))
    mixed = values @ Transpose((0, 1, 3, 2))(_softmax(scores, mask))
    return Reshape(q.shape)(Transpose((0, 3, 1, 2))(mixed))


def _heads_first(op: Attention, q: Value, k: Value, v: Value, mask: list[Value], divisor: float) -> Value:
    queries, values = (Transpose((0, 2, 1, 3))(_split(op, x)) for x in (q, v))
    scores = _divided(queries @ Transpose((0, 2, 3, 1))(_split(op, k)), divisor)
    return Reshape(q.shape)(Transpose((0, 2, 1, 3))(_softmax(scores, mask) @ values))


def _split(op: Attention, x: Value) -> Value:
    shape: tuple[Dim, ...] = (*x.shape[:2], op.heads, head_width(x.type, op.heads))
    return Reshape(shape)(x)


def _softmax(scores: Value, mask: list[Value]) -> Value:
    return MaskedSoftmax()(scores, *mask) if mask else Softmax()(scores)


@rule(P(MaskedSoftmax))
def add_the_mask(root: Value) -> Value:
    """masked_softmax(x, mask)  ->  softmax(mask_scores(x * factor, (mask - 1) * 10000))"""
    op = root.op
    assert isinstance(op, MaskedSoftmax)
    x, mask = root.inputs
    scaled = x if op.factor == 1 else x * op.factor
    return Softmax()(MaskScores()(scaled, bias_of(mask)))


def bias_of(mask: Value) -> Value:
    """(mask - 1) * 10000, from the lengths if the mask is made of some."""
    if isinstance(mask.op, SequenceMask):
        return SequenceBias(mask.op.from_steps, mask.op.to_steps)(*mask.inputs)
    return (mask - 1.0) * DROPPED


RULES: tuple[Rule, ...] = (expand_heads, add_the_mask)


def expand_attention(graph: Graph) -> Fires:
    """%y = attention(%q, %k, %v, %m)  ->  %p = softmax(add(div(mat_mul(...), sqrt(d)), %bias)); ... mat_mul(%v4, %p) ..."""
    return apply(graph, RULES)
