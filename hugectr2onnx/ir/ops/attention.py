"""Attention and the masked softmax inside it."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from hugectr2onnx.errors import ShapeError
from hugectr2onnx.ir.op import Emitter, Op
from hugectr2onnx.ir.ops.linear import MatMul
from hugectr2onnx.ir.ops.reduce import Softmax, max_of_rows
from hugectr2onnx.ir.ops.shape import Reshape
from hugectr2onnx.ir.types import Array, TensorType

DROPPED = 10000.0
"""What a score loses where the mask is 0."""
FLOOR = 1e-6
"""What the sum of a masked softmax is raised by."""
SCORE_ERROR = 2.0**-18
"""How far a score may be from its exact value in float32, relative to the largest of its row, or to 1 if that is larger."""


def drop(scores: Array, dropped: Array) -> Array:
    """Return `scores - dropped`, rounded to float32 wherever `dropped` is not 0 (layers 3.15, 3.17).

    HugeCTR subtracts 10,000 in float32, which rounds a score to 1/1024. In a row that the mask drops as a whole these
    rounded scores are what the softmax sees, so they are part of the meaning, whatever the precision of the evaluation.

    float32 may round a score either way that lies within its own error of a tie. An evaluation in float32 tells how far
    from the reference float32 may be, so it takes neither of the two neighbours there but the next number above them.
    """
    exact = scores.astype(np.float64) - dropped
    rounded = exact.astype(np.float32)
    if scores.dtype == np.float32:
        largest = np.max(np.where(np.isfinite(scores), np.abs(scores), 0), axis=-1, keepdims=True, initial=1)
        upper = (exact + SCORE_ERROR * largest).astype(np.float32)
        tie = upper != (exact - SCORE_ERROR * largest).astype(np.float32)
        rounded = np.where(tie, np.nextafter(upper, np.float32(np.inf)), rounded)
    return np.where(dropped != 0, rounded, scores).astype(scores.dtype)


@dataclass(frozen=True)
class MaskedSoftmax(Op):
    """Softmax along the last axis of the scores that a mask of ones and zeros keeps (layers 3.17).

    `z = factor * x - (1 - mask) * 10000; z -= max(z); y = exp(z) / (sum(exp(z)) + 1e-6)`

    x is [B, h, F, T], the mask [B, 1, F, T] or [B, 1, 1, T]. A row that the mask drops as a whole loses 10000
    everywhere, so it becomes the softmax of its unmasked scores, rounded to 1/1024 (`drop`).
    """

    factor: float = 1.0

    def infer(self, x: TensorType, mask: TensorType) -> TensorType:
        fits = x.rank == mask.rank == 4 and x.dtype == mask.dtype
        if not fits or mask.shape not in {(x.shape[0], 1, length, x.shape[3]) for length in (1, x.shape[2])}:
            raise ShapeError(
                f"scores of {x} with a mask of {mask}: the scores must be [B, h, F, T] and the mask [B, 1, F, T]"
            )
        return x

    def evaluate(self, x: Array, mask: Array) -> Array:
        factor, one, dropped, floor = (x.dtype.type(c) for c in (self.factor, 1, DROPPED, FLOOR))
        z = drop(factor * x, (one - mask) * dropped)
        raised = np.exp(z - z.max(-1, keepdims=True))
        return np.asarray(raised / (raised.sum(-1, keepdims=True) + floor))

    def emit(self, out: Emitter, x: str, mask: str) -> str:
        scaled = x if self.factor == 1 else out.node("Mul", x, out.const(self.factor))
        dropped = out.node("Mul", out.node("Sub", out.const(1.0), mask), out.const(DROPPED))
        z = out.node("Sub", scaled, dropped)
        raised = out.node("Exp", out.node("Sub", z, max_of_rows(out, z)))
        total = out.node("ReduceSum", raised, out.const([-1], "i64"), keepdims=1)
        return out.node("Div", raised, out.node("Add", total, out.const(FLOOR)))


@dataclass(frozen=True)
class MaskScores(Op):
    """Add the bias of a mask, 0 or -10000, to scores as HugeCTR does (`drop`): [B, h, F, T] + [B, 1, F or 1, T]."""

    def infer(self, scores: TensorType, bias: TensorType) -> TensorType:
        return MaskedSoftmax().infer(scores, bias)

    def evaluate(self, scores: Array, bias: Array) -> Array:
        return drop(scores, -bias)

    def emit(self, out: Emitter, scores: str, bias: str) -> str:
        return out.node("Add", scores, bias)


@dataclass(frozen=True)
class MaskedScores(Op):
    """`a @ b`, whose last terms, `dropping` many, are the bias of a mask (`SequenceSides`) and not a part of the score.

    a is [B, queries, n], b is [B, n, T]. A product that adds up one term after the other adds the bias last, to the
    complete score, and so rounds as HugeCTR does (`drop`).
    """

    dropping: int

    def infer(self, a: TensorType, b: TensorType) -> TensorType:
        return MatMul().infer(a, b)

    def evaluate(self, a: Array, b: Array) -> Array:
        n = a.shape[-1] - self.dropping
        return drop(a[..., :n] @ b[..., :n, :], -(a[..., n:] @ b[..., n:, :]))

    def emit(self, out: Emitter, a: str, b: str) -> str:
        return out.node("MatMul", a, b)


@dataclass(frozen=True)
class Attention(Op):
    """Multi-head attention of HugeCTR v23.09 and later: no projections and no dropout (layers 3.15, generation D).

    q is [B, F, H], k and v are [B, T, H], the mask is [B, 1, F, T]; the result is [B, F, H]. With d = H / heads and
    every operand split into [B, heads, length, d]:

    `s = q @ k^T / sqrt(d); p = softmax(s), or masked_softmax(s, mask) where masked; y = p @ v`, the heads side by side.
    """

    heads: int
    masked: bool = False

    def infer(self, q: TensorType, k: TensorType, v: TensorType, *mask: TensorType) -> TensorType:
        fits = q.rank == k.rank == 3 and k == v and (q.shape[0], q.shape[2]) == (k.shape[0], k.shape[2])
        if not fits:
            raise ShapeError(
                f"queries, keys and values must be [B, F, H], [B, T, H] and [B, T, H], not {q}, {k} and {v}"
            )
        if len(mask) != self.masked:
            raise ShapeError(f"attention takes {int(self.masked)} masks here, not {len(mask)}")
        batch, steps, width = q.shape
        head_width(q, self.heads)
        if self.masked:
            MaskedSoftmax().infer(q.with_shape(batch, self.heads, steps, k.shape[1]), *mask)
        return q.with_shape(batch, steps, width)

    def evaluate(self, q: Array, k: Array, v: Array, *mask: Array) -> Array:
        softmax = MaskedSoftmax() if mask else Softmax()
        return attend(q, k, v, self.heads, lambda scores: softmax.evaluate(scores, *mask))

    def emit(self, out: Emitter, q: str, k: str, v: str, *mask: str) -> str:
        queries, values = (self._emit_split(out, x, [0, 2, 1, 3]) for x in (q, v))
        keys = self._emit_split(out, k, [0, 2, 3, 1])
        root = out.const(math.sqrt(head_width(out.type(q), self.heads)))
        scores = out.node("Div", out.node("MatMul", queries, keys), root)
        weights = MaskedSoftmax().emit(out, scores, *mask) if mask else Softmax().emit(out, scores)
        merged = out.node("Transpose", out.node("MatMul", weights, values), perm=[0, 2, 1, 3])
        return Reshape(out.type(q).shape).emit(out, merged)

    def _emit_split(self, out: Emitter, x: str, perm: list[int]) -> str:
        batch, steps, _ = out.type(x).shape
        apart = Reshape((batch, steps, self.heads, head_width(out.type(x), self.heads))).emit(out, x)
        return out.node("Transpose", apart, perm=perm)


@dataclass(frozen=True)
class FusedAttention(Op):
    """The same as ONNX's own operator, of opset 23, and a bias in place of the mask: `softmax(q @ k^T / sqrt(d) + bias) @ v`.

    q is [B, F, H], k and v are [B, T, H], the bias [B, 1, F, T]; the result is [B, F, H].
    """

    least_opset = 23
    heads: int

    def infer(self, q: TensorType, k: TensorType, v: TensorType, *bias: TensorType) -> TensorType:
        result = Attention(self.heads).infer(q, k, v)
        if bias and bias != (q.with_shape(q.shape[0], 1, q.shape[1], k.shape[1]),):
            raise ShapeError(f"the bias of attention over {q} and {k} must be [B, 1, F, T], not {bias[0]}")
        return result

    def evaluate(self, q: Array, k: Array, v: Array, *bias: Array) -> Array:
        def weights(scores: Array) -> Array:
            return Softmax().evaluate(drop(scores, -bias[0]) if bias else scores)

        return attend(q, k, v, self.heads, weights)

    def emit(self, out: Emitter, q: str, k: str, v: str, *bias: str) -> str:
        return out.node("Attention", q, k, v, *bias, q_num_heads=self.heads, kv_num_heads=self.heads)


def attend(q: Array, k: Array, v: Array, heads: int, weights: Callable[[Array], Array]) -> Array:
    """`weights(q @ k^T / sqrt(d)) @ v` head by head, the heads side by side."""
    queries, keys, values = (_split(x, heads) for x in (q, k, v))
    root = q.dtype.type(math.sqrt(queries.shape[-1]))
    scores = queries @ keys.swapaxes(-1, -2) / root
    return (weights(scores) @ values).transpose(0, 2, 1, 3).reshape(q.shape)


def _split(x: Array, heads: int) -> Array:
    batch, steps, width = x.shape
    return x.reshape(batch, steps, heads, width // heads).transpose(0, 2, 1, 3)


def head_width(x: TensorType, heads: int) -> int:
    """Return the width of one head; raises ShapeError unless the heads share the last axis evenly."""
    width = x.shape[-1]
    if not isinstance(width, int) or heads < 1 or width < 1 or width % heads:
        raise ShapeError(f"the last dimension of {x} cannot be shared evenly by {heads} attention heads")
    return width // heads
