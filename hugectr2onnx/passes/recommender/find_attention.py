"""Recognise attention that came layer by layer: scores, masked softmax, values (layers 3.15, generation C)."""

from __future__ import annotations

import math

from hugectr2onnx.ir.graph import Graph, Value
from hugectr2onnx.ir.ops.attention import Attention, MaskedSoftmax
from hugectr2onnx.ir.ops.elementwise import Div
from hugectr2onnx.ir.ops.linear import MatMul
from hugectr2onnx.ir.ops.reduce import Softmax
from hugectr2onnx.ir.ops.shape import Reshape, Transpose
from hugectr2onnx.ir.types import Dim
from hugectr2onnx.passes import cost
from hugectr2onnx.passes.pattern import P, Var
from hugectr2onnx.passes.rewriter import Fires, apply, rule

HEADS_FIRST = Transpose((0, 2, 1, 3))
WIDTH_FIRST = Transpose((0, 2, 3, 1))
SWAP_LAST = Transpose((0, 1, 3, 2))
SCALE_TOLERANCE = 1e-6
"""By how much, relatively, a scale may differ from 1 / sqrt(d) that is meant to be it."""


@rule(P(Reshape, P(HEADS_FIRST, Var("weights") @ Var("values"))))
def find_heads(weights: Value, values: Value, root: Value) -> Value | None:
    """reshape(transpose(softmax(q @ k^T / sqrt(d), mask) @ v))  ->  attention(q, k, v, mask), heads still together"""
    lengths, width = weights.shape[-2:], values.shape[-1]
    known = [length for length in lengths if isinstance(length, int)]
    if not isinstance(width, int) or not cost.is_worth_moving_steps(width, *known):
        return None  # expand_attention would give back what is here, and so on without end
    return attention_of(weights, values, root)


def attention_of(weights: Value, values: Value, root: Value) -> Value | None:
    """Return attention for `root = merge_heads(weights @ values)`, or None if that is not what it computes."""
    # Weights that somebody else reads would have to be computed a second time.
    if not isinstance(weights.op, Softmax | MaskedSoftmax) or not weights.has_one_use or weights.type.rank != 4:
        return None
    scores, *mask = weights.inputs
    factor = weights.op.factor if isinstance(weights.op, MaskedSoftmax) else 1.0
    product, divisor = _divided(scores)
    if product is None or divisor == 0:
        return None
    # Attention takes [B, s, h * d], so the heads of all three operands must have been split from that.
    split = [_split_heads(product.inputs[0]), _split_keys(product.inputs[1]), _split_heads(values)]
    q, k, v = (_together(each) for each in split)
    if q is None or k is None or v is None or not (k.type == v.type and root.type == q.type):
        return None
    # The op has no scale of its own: it divides by sqrt(d), so the factor and the divisor must come to that.
    heads, width = weights.shape[1], product.inputs[0].shape[3]
    if not isinstance(heads, int) or not isinstance(width, int):
        return None
    if not math.isclose(factor / divisor, 1 / math.sqrt(width), rel_tol=SCALE_TOLERANCE):
        return None
    return Attention(heads, masked=bool(mask))(q, k, v, *mask)


def _divided(scores: Value) -> tuple[Value | None, float]:
    """Return the product inside the scores and the number that divides it."""
    divisor = 1.0
    if isinstance(scores.op, Div) and scores.has_one_use:
        number = scores.inputs[1].const
        if number is None or number.size != 1:
            return None, divisor
        scores, divisor = scores.inputs[0], float(number.reshape(()))
    fits = isinstance(scores.op, MatMul) and scores.has_one_use and scores.type.rank == 4
    return (scores if fits else None), divisor


def _split_heads(value: Value) -> Value | None:
    """Return the [B, s, h, d] behind a [B, h, s, d]."""
    apart = value.inputs[0] if value.op == HEADS_FIRST else None
    return apart if apart is not None and isinstance(apart.op, Reshape) else None


def _split_keys(value: Value) -> Value | None:
    """Return the [B, s, h, d] behind a [B, h, d, s]."""
    if value.op == SWAP_LAST:
        return _split_heads(value.inputs[0])
    apart = value.inputs[0] if value.op == WIDTH_FIRST else None
    return apart if apart is not None and isinstance(apart.op, Reshape) else None


def _together(apart: Value | None) -> Value | None:
    """[B, s, h * d] of [B, s, h, d]: what the Reshape had been given, or the same memory."""
    if apart is None:
        return None
    batch, steps, heads, width = apart.shape
    if not isinstance(heads, int) or not isinstance(width, int):
        return None
    shape: tuple[Dim, ...] = (batch, steps, heads * width)
    before = apart.inputs[0]
    return before if before.shape == shape else Reshape(shape)(before)


def find_attention(graph: Graph) -> Fires:
    """%s = div(mat_mul(%q4, %k4)); %p = masked_softmax(%s, %m); mat_mul(%p, %v4) ...  ->  attention(%q, %k, %v, %m)"""
    return apply(graph, [find_heads])
