"""Attention over slots: as one layer (layers 3.15, generation D), and as the layers that did it before (C)."""

from __future__ import annotations

import math
from fractions import Fraction

from .growing import Growing, Tensor
from .layers import EPS


def add_attention(g: Growing) -> None:
    """Attention, then what BST puts around it: residual Adds, LayerNorm and a feed-forward part, as far as drawn."""
    x, heads = _sequence(g)
    q, k, v = (g.fc(x, x.width) if g.chance() else x for _ in range(3))
    mask = [_mask(g, *x.dims[:1] * 2)] if g.chance() else []
    y = g.same("MultiHeadAttention", q, k, v, *mask, num_attention_heads=heads, transpose_b=False)
    for _ in range(g.number(0, 2)):
        shortcut = g.same("Add", *g.shuffled(y, q))
        y = g.same("LayerNorm", shortcut, ln_param={"eps": EPS})
        q, y = y, g.fc(g.fc(y, g.number(1, 8)), y.width)


def add_attention_by_layers(g: Growing) -> None:
    """Scores, a Softmax with or without mask, and the mean of the values; the scale is 1 / sqrt(d), or is not."""
    x, heads = _sequence(g)
    steps, width = x.dims[0], x.width // heads
    q, k, v = (g.fc(x, x.width) if g.chance() else x for _ in range(3))
    shapes = (x.rows, (heads, steps, steps)), (x.rows, (heads, steps, width))
    divides = {"transpose_b": True} if g.chance() else {}
    scores, values = g.add("MultiHeadAttention", [q, k, v], *shapes, num_attention_heads=heads, **divides)
    mask = [_mask(g, steps, steps)] if g.chance() else []
    factor = g.one_of(1.0, 1.0 if divides else 1 / math.sqrt(width), 0.5)
    (weights,) = g.add("Softmax", [scores, *mask], (x.rows, scores.dims), factor=factor)
    g.add("MultiHeadAttention", [weights, values], (x.rows, x.dims), num_attention_heads=heads, transpose_b=False)


def _sequence(g: Growing) -> tuple[Tensor, int]:
    """[N, steps, heads * d] and the number of heads."""
    heads, width = g.one_of((1, 1), (1, 3), (2, 2), (2, 1), (1, 17))
    return g.slots(g.number(1, 3), heads * width), heads


def _mask(g: Growing, before: int, after: int) -> Tensor:
    """Lengths are dense features as they come: a rounded length might be another one."""
    dense = g.tensors[0]
    columns = [g.cut(dense, (i, i + 1))[0] for i in (g.number(0, dense.width - 1) for _ in range(2))]
    if g.chance():
        lengths = columns if g.chance() else columns[:1] * 2
        params = {"max_sequence_len_from": before, "max_sequence_len_to": after}
    else:
        lengths, before, params = columns[:1], 1, {"max_sequence_len": after}
    (mask,) = g.add("SequenceMask", lengths, (Fraction(1), (1, before, after)), **params)
    return g.same("ReLU", mask) if g.chance() else mask
