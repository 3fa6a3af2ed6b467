"""DIN scores a target against each item of a history by a linear on `[target, item, target - item, target * item]`.

With the target repeated for each of k items and W in the blocks W1..W4, the linear of the joined columns is

    target @ (W1 + W3) + item @ (W2 - W3) + (target * item) @ W4,

whose first term is computed once for a target, and no columns are joined. Where W has one column, the other two are

    item . (W2 - W3 + target * W4),

one product of a vector [d] with a matrix [d, k] a sample.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import reduce
from itertools import pairwise
from operator import add

import numpy as np

from hugectr2onnx.ir.graph import Graph, Value
from hugectr2onnx.ir.ops.elementwise import Add, Mul, Sub
from hugectr2onnx.ir.ops.linear import Linear
from hugectr2onnx.ir.ops.shape import Concat, Repeat, Reshape, Transpose
from hugectr2onnx.ir.types import Array
from hugectr2onnx.passes import cost
from hugectr2onnx.passes.analysis.products import exact, rounded
from hugectr2onnx.passes.pattern import P, Var
from hugectr2onnx.passes.rewriter import Fires, apply, rule

MAX_WEIGHT_RATIO = 32.0
"""How many times larger than those of its operands the weights of a difference may be: beyond, folding them cancels."""

W, B = Var("w", const=True), Var("b", const=True)
Terms = dict[Value, Array]
"""A sum of products: each value with its weight, in float64."""


@rule(P(Linear, P(Concat, name="joined"), W, B))
def split_linear(joined: Value, w: Value, b: Value, root: Value) -> Value | None:
    """linear(concat(repeat(a), h, repeat(a) * h), w, b)  ->  h @ w2 + (repeat(a) * h) @ w3 + repeat(linear(a, w1, b))"""
    op = joined.op
    assert isinstance(op, Concat)
    assert isinstance(root.op, Linear)
    if op.axis != 1 or joined.type.rank != 2:
        return None
    terms = _terms(joined.inputs, exact(w))
    finite = all(rounded(weight) is not None for weight in terms.values())
    repeated = {value: weight for value, weight in terms.items() if _is_repeat(value)}
    if not repeated or not finite or not cost.is_worth_splitting_product(len(terms) - len(repeated)):
        return None
    rest = {value: weight for value, weight in terms.items() if value not in repeated}
    parts = _scores(rest) if w.shape[1] == 1 else []
    parts += [value @ _const(value, weight) for value, weight in rest.items()]
    total = reduce(add, [*parts, *_once_a_sample(repeated, b)])
    return root.op.activation(total) if root.op.activation else total


def _terms(operands: Sequence[Value], weight: Array) -> Terms:
    """Return the operands with their rows of the weight, sums and differences of one another folded into those."""
    places = np.cumsum([0, *(operand.shape[1] for operand in operands)])
    blocks = [weight[start:end] for start, end in pairwise(places)]
    direct: Terms = {}
    for operand, block in zip(operands, blocks, strict=True):
        direct[operand] = direct.get(operand, 0) + block
    terms = dict(direct)
    for value, block in direct.items():
        if isinstance(value.op, Add | Sub) and _folds(value, block, direct):
            left, right = value.inputs
            sign = -1 if isinstance(value.op, Sub) else 1
            terms.pop(value)
            terms[left] = terms.get(left, 0) + block
            terms[right] = terms.get(right, 0) + sign * block
    return terms


def _folds(value: Value, block: Array, direct: Terms) -> bool:
    """Tell whether a sum or difference is one of values that are there anyway, with weights of the same order."""
    if any(operand.type != value.type or not (operand in direct or _is_repeat(operand)) for operand in value.inputs):
        return False
    if any(isinstance(operand.op, Add | Sub) for operand in value.inputs):
        return False
    size = sum(np.abs(direct[operand]).max() for operand in value.inputs if operand in direct)
    return bool(np.abs(block).max() <= MAX_WEIGHT_RATIO * size)


def _is_repeat(value: Value) -> bool:
    op = value.op
    return isinstance(op, Repeat) and op.axis == 0 and cost.is_worth_sharing(op.factor) and value.type.rank == 2


def _scores(rest: Terms) -> list[Value]:
    """Takes the products with something repeated, and what they are products of, out of the terms of a single column."""
    scores = []
    for value, repeat, items in [found for value in rest if (found := _target_and_items(value))]:
        if value not in rest:  # what another one is a product of
            continue
        assert isinstance(repeat.op, Repeat)
        rows, width = repeat.inputs[0].shape
        weight = _as_made(repeat.inputs[0]) * _const(value, rest.pop(value).T)
        if items in rest:
            weight = weight + _const(value, rest.pop(items).T)
        keys = Transpose((0, 2, 1))(Reshape((rows, repeat.op.factor, width))(items))
        each = Reshape((rows, 1, width))(weight) @ keys
        scores.append(Reshape((value.shape[0], 1))(each))
    return scores


def _as_made(target: Value) -> Value:
    """[N, 1, d] where a target was that before it became [N, d], so that it need not be reshaped twice."""
    before = target.inputs[0] if isinstance(target.op, Reshape) else target
    return before if before.shape == (target.shape[0], 1, target.shape[1]) else target


def _target_and_items(value: Value) -> tuple[Value, Value, Value] | None:
    """Return a product of something repeated and something else: the product and both."""
    if not isinstance(value.op, Mul) or any(operand.type != value.type for operand in value.inputs):
        return None
    a, b = value.inputs
    if _is_repeat(a) == _is_repeat(b):
        return None
    return (value, a, b) if _is_repeat(a) else (value, b, a)


def _once_a_sample(repeated: Terms, b: Value) -> list[Value]:
    """Return each repeated value times its weight before it is repeated; the first takes the bias."""
    parts = []
    for number, (value, weight) in enumerate(repeated.items()):
        once, w = value.inputs[0], _const(value, weight)
        parts.append(value.op(once @ w if number else Linear()(once, w, b)))
    return parts


def _const(value: Value, weight: Array) -> Value:
    return value.graph.const(np.ascontiguousarray(weight, np.float32))


def split_repeats(graph: Graph) -> Fires:
    """%c = concat(%r, %h, %s, %m) {axis=1}; %y = linear(%c, %w, %b)  ->  %y = add(mat_mul(...), repeat(linear(%a, ...)))"""
    return apply(graph, [split_linear])
