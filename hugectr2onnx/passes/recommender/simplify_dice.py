"""Dice in few passes over memory.

With p = sigmoid((x - mean) / sqrt(var + eps)) and r = alpha / (1 - alpha),

    p * x + (1 - p) * alpha * x = (1 - alpha) * (p + r) * x,

where the next linear takes the 1 - alpha into its weight. The mean of the batch is a product with 1/N in each place, and
the variance the same mean of (x - mean)^2, which does not cancel as E[x^2] - E[x]^2 does; both beat a reduction over rows.
Where all rows are identical, x - mean is the rounding of the mean, as it is in the layers unless the sum happens to be exact.
"""

from __future__ import annotations

import numpy as np

from hugectr2onnx.ir.graph import Graph, Value
from hugectr2onnx.ir.ops.dice import ColumnSum, Dice, EqualShares, FrozenDice
from hugectr2onnx.ir.ops.elementwise import Sigmoid, Sqrt
from hugectr2onnx.ir.ops.linear import Linear
from hugectr2onnx.ir.types import Array, Dim
from hugectr2onnx.passes.analysis.products import exact, rounded
from hugectr2onnx.passes.pattern import P, Var
from hugectr2onnx.passes.rewriter import Fires, apply, rule

MIN_DISTANCE_FROM_ONE = 1e-3
"""How close to 1 alpha may be: nearer, r would swamp p."""

W, B = Var("w", const=True), Var("b", const=True)


@rule(P(Linear, P(Dice, name="dice"), W, B))
def expand_dice_before_linear(dice: Value, w: Value, b: Value, root: Value) -> Value | None:
    """linear(dice(x), w, b)  ->  linear((p + r) * x, (1 - alpha) * w, b)"""
    return _before_linear(dice, w, b, root)


@rule(P(Linear, P(FrozenDice, name="dice"), W, B))
def expand_frozen_dice_before_linear(dice: Value, w: Value, b: Value, root: Value) -> Value | None:
    """linear(frozen_dice(x, mean, var), w, b)  ->  linear((p + r) * x, (1 - alpha) * w, b)"""
    return _before_linear(dice, w, b, root)


@rule(P(Dice))
def expand_dice(root: Value) -> Value | None:
    """dice(x)  ->  (p * (1 - alpha) + alpha) * x"""
    return _alone(root)


@rule(P(FrozenDice))
def expand_frozen_dice(root: Value) -> Value | None:
    """frozen_dice(x, mean, var)  ->  (p * (1 - alpha) + alpha) * x"""
    return _alone(root)


def _before_linear(dice: Value, w: Value, b: Value, root: Value) -> Value | None:
    op = dice.op
    assert isinstance(op, Dice | FrozenDice)
    if abs(1 - op.alpha) < MIN_DISTANCE_FROM_ONE or not _is_usable(dice):
        return None
    weight, ratio = rounded((1 - op.alpha) * exact(w)), op.alpha / (1 - op.alpha)
    if weight is None:
        return None
    x, p = dice.inputs[0], _gate(dice)
    return root.op((p + ratio if ratio else p) * x, x.graph.const(weight), b)


def _alone(dice: Value) -> Value | None:
    op = dice.op
    assert isinstance(op, Dice | FrozenDice)
    x = dice.inputs[0]
    if op.alpha == 1:
        return x
    return (_gate(dice) * (1 - op.alpha) + op.alpha) * x if _is_usable(dice) else None


def _gate(dice: Value) -> Value:
    """sigmoid((x - mean) / sqrt(var + eps))"""
    op, x = dice.op, dice.inputs[0]
    if isinstance(op, FrozenDice):
        return Sigmoid()((x - dice.inputs[1]) * x.graph.const(_inverse_deviation(dice)))
    assert isinstance(op, Dice)
    shares = _shares(x)
    centred = x - ColumnSum()(shares, x)
    variance = ColumnSum(op.eps)(shares, centred * centred)
    return Sigmoid()(centred / Sqrt()(variance))


def _shares(x: Value) -> Value:
    rows = x.shape[0]
    return x.graph.const(np.full((1, rows), 1 / rows, np.float32)) if isinstance(rows, int) else EqualShares()(x)


def _inverse_deviation(dice: Value) -> Array:
    assert isinstance(dice.op, FrozenDice)
    variance = dice.inputs[2].const
    assert variance is not None
    with np.errstate(all="ignore"):
        return np.asarray(1 / np.sqrt(variance.astype(np.float64) + dice.op.eps)).astype(np.float32)


def _is_usable(dice: Value) -> bool:
    """Tell whether the statistics are those of the batch, or constants by which float32 can divide."""
    if isinstance(dice.op, Dice):
        return True
    frozen = dice.inputs[2].const is not None
    return frozen and bool(np.isfinite(_inverse_deviation(dice)).all())


def _merge_shares(graph: Graph) -> int:
    """Shares of as many rows are the same. The first in the graph's order depends on no others."""
    first: dict[Dim, Value] = {}
    merged = 0
    for node in [node for node in graph if isinstance(node.op, EqualShares)]:
        shares = node.results[0]
        kept = first.setdefault(shares.shape[1], shares)
        if kept != shares:
            graph.replace(shares, kept)
            graph.erase(node)
            merged += 1
    return merged


def simplify_dice(graph: Graph) -> Fires:
    """%d = dice(%x); %y = linear(%d, %w, %b)  ->  %y = linear(mul(add(sigmoid(...), r), %x), %w', %b)"""
    before = apply(graph, [expand_dice_before_linear, expand_frozen_dice_before_linear])
    alone = apply(graph, [expand_dice, expand_frozen_dice])
    return before + alone + Fires({"merge_shares": _merge_shares(graph)})
