"""Attention of few, short heads over one sequence without moving anything: the heads of a query become rows.

With q = x Wq + bq, k = x Wk + bk and v = x Wv + bv, and head by head A = Wq Wk^T / sqrt(d) and c = Wk bq / sqrt(d):

    softmax(q k^T / sqrt(d)) v = softmax((x A + c) x^T) x Wv + bv

since what bk adds to the scores of a query is the same for all keys, and weights add up to 1. `x [A1 A2 ...]` lies in memory
as one row for each query and head, so a sample's scores are one product, its values another, and both projections of the
result are one. A mask by sequence lengths becomes two more columns of x in the same product (`SequenceSides`). HugeCTR rounds
masked scores to 1/1024, which what bk adds does not leave alone: with a mask it is added by a column of ones.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import numpy as np

from hugectr2onnx.ir.graph import Graph, Value
from hugectr2onnx.ir.ops.attention import Attention, MaskedScores
from hugectr2onnx.ir.ops.linear import MatMul
from hugectr2onnx.ir.ops.reduce import Softmax
from hugectr2onnx.ir.ops.sequence_mask import SequenceMask, SequenceSides
from hugectr2onnx.ir.ops.shape import Concat, Reshape, Transpose
from hugectr2onnx.ir.types import Array, Dim, scale
from hugectr2onnx.passes import cost
from hugectr2onnx.passes.analysis.products import Product, multiply
from hugectr2onnx.passes.pattern import P
from hugectr2onnx.passes.rewriter import Fires, apply, rule

MAX_SUMMED_AT_ONCE = 128
"""Terms of a product that onnxruntime adds up one after the other; longer ones are added up in pieces."""


@dataclass(frozen=True)
class Projection:
    """`x @ weight + bias` in float64, x being [B, steps, n]."""

    weight: Array
    bias: Array

    def of_head(self, head: int, width: int) -> Projection:
        mine = slice(head * width, (head + 1) * width)
        return Projection(self.weight[:, mine], self.bias[mine])


@rule(P(Attention))
def stack_heads_of_attention(root: Value) -> Value | None:
    """attention(x Wq, x Wk, x Wv, mask)  ->  softmax(reshape(x A) @ x^T) @ x, reshaped and projected once"""
    op = root.op
    assert isinstance(op, Attention)
    read = [_projections(operand) for operand in root.inputs[:3]]
    common = [x for x in read[0] if x in read[1] and x in read[2]]
    sides = _sides(root.inputs[3], root.shape[1]) if op.masked else None
    if not common or root.inputs[1].shape != root.shape or (op.masked and sides is None):
        return None
    return _stack(root, common[0], [projections[common[0]] for projections in read], sides)


def _projections(value: Value) -> dict[Value, Projection]:
    """Tell what a value is a projection of: the operand of the product that makes it, and itself."""
    made, width = _inside(value), value.type.shape[-1]
    product, found = Product.of(made), {}
    if product and product.is_plain and made.type.shape[-1] == width:
        bias = np.zeros(product.shape[1]) if product.bias is None else product.bias
        found[_inside(product.x)] = Projection(product.weight, bias)
    if isinstance(width, int):
        found[made] = Projection(np.eye(width), np.zeros(width))
    return found


def _inside(value: Value) -> Value:
    while isinstance(value.op, Reshape):
        value = value.inputs[0]
    return value


def _sides(mask: Value, steps: Dim) -> SequenceSides | None:
    """Return the sides of a mask by one length for each sample."""
    op = mask.op
    if not isinstance(op, SequenceMask) or len(set(mask.inputs)) > 1 or op.to_steps != steps:
        return None
    return SequenceSides(op.to_steps, every_query=len(mask.inputs) == 1)


def _stack(root: Value, source: Value, projections: list[Projection], sides: SequenceSides | None) -> Value | None:
    op, (batch, steps, width) = root.op, root.shape
    assert isinstance(op, Attention)
    queries, keys, values = projections
    n = len(queries.weight)
    if not isinstance(steps, int) or not isinstance(width, int) or not _pays(steps, n, width, op.heads):
        return None
    if sides is not None:
        sides = replace(sides, ones=not sides.every_query and bool(keys.bias.any()))
        if n + sides.columns > MAX_SUMMED_AT_ONCE:
            return None  # the bias would be added to a part of the score, and rounded twice
    rows, every_head = scale(batch, steps), steps * op.heads
    x = Reshape((batch, steps, n))(source)
    seen = x if sides is None else Concat(2)(x, sides(root.inputs[3].inputs[0]))
    length = seen.shape[2]
    weight, bias = _scoring(queries, keys, op.heads, sides)
    asked = multiply(seen if bias is None else Reshape((rows, length))(seen), weight, bias)
    if asked is None:
        return None
    product = MatMul() if sides is None else MaskedScores(sides.dropping)
    scores = product(Reshape((batch, every_head, length))(asked), Transpose((0, 2, 1))(seen))
    mixed = Reshape((rows, op.heads * n))(Softmax()(scores) @ x)
    result = multiply(mixed, _unstacking(values.weight, op.heads), values.bias)
    return None if result is None else Reshape(root.shape)(result)


def _pays(steps: int, n: int, width: int, heads: int) -> bool:
    """Tell whether the multiplications that come on top cost less than products of single heads and moving numbers."""
    stacked = 2 * heads * n * steps * (n + steps)
    apart = 2 * steps * width * (n + steps)
    return cost.is_worth_stacking(stacked - apart, heads, steps * width)


def _scoring(
    queries: Projection, keys: Projection, heads: int, sides: SequenceSides | None
) -> tuple[Array, Array | None]:
    """[A1 A2 ...] and [c1 c2 ...], or both in one weight if sides are among the columns of x."""
    width = queries.weight.shape[1] // heads
    pairs = [(queries.of_head(head, width), keys.of_head(head, width)) for head in range(heads)]
    weight = np.stack([q.weight @ k.weight.T for q, k in pairs], 1) / math.sqrt(width)
    bias = np.stack([k.weight @ q.bias for q, k in pairs]) / math.sqrt(width)
    if sides is None:
        return weight.reshape(len(weight), -1), bias.reshape(-1)
    n, more = len(weight), sides.columns
    weight = np.pad(weight, ((0, more), (0, 0), (0, more)))
    weight[n:, :, n:] = sides.drops[:, None]
    # A column of ones, or two of which one is 1, carries what does not depend on the query.
    constant = slice(n, n + 1) if sides.has_ones else slice(n, n + 2)
    weight[constant, :, :n] += bias
    if sides.has_ones:
        weight[:n, :, n] = np.stack([q.weight @ k.bias for q, k in pairs], 1) / math.sqrt(width)
        weight[n, :, n] += np.array([q.bias @ k.bias for q, k in pairs]) / math.sqrt(width)
    return weight.reshape(len(weight), -1), None


def _unstacking(weight: Array, heads: int) -> Array:
    """Return the columns of each head below one another, zero in the rows of other heads."""
    n, width = weight.shape
    apart = np.zeros((heads, n, width))
    for head, mine in enumerate(np.split(np.arange(width), heads)):
        apart[head][:, mine] = weight[:, mine]
    return apart.reshape(heads * n, width)


def stack_heads(graph: Graph) -> Fires:
    """%y = attention(%q, %k, %v)  ->  %p = softmax(reshape(linear(%x, %a)) @ transpose(%x)); %y = linear(%p @ %x)"""
    return apply(graph, [stack_heads_of_attention])
