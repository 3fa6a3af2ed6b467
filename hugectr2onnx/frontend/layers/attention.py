"""MultiHeadAttention, whose meaning changed three times under one name."""

from __future__ import annotations

import math
from dataclasses import dataclass

from hugectr2onnx.errors import ShapeError
from hugectr2onnx.frontend.layers.layer import Layer, param
from hugectr2onnx.ir.graph import Value
from hugectr2onnx.ir.ops.attention import Attention, head_width
from hugectr2onnx.ir.ops.shape import Reshape, Transpose
from hugectr2onnx.ir.types import elements


@dataclass(frozen=True)
class MultiHeadAttentionLayer(Layer, types=("MultiHeadAttention",)):
    """Attention without trainable weights; four generations, told apart by bottoms, tops and keys (layers 3.15).

    A, B (v3.7 to v4.2; 2 bottoms and no `transpose_b`): `q @ k^T`, unscaled.
    C (v4.3 to v23.08; 2 bottoms and `transpose_b`): `q @ k^T / sqrt(d)`, or for 4D bottoms and a `transpose_b` of false
    `p @ v` with the heads merged; with 3 bottoms and two tops: those scores, and v with its heads apart.
    D (v23.09 on; 3 or 4 bottoms, one top): `softmax(q @ k^T / sqrt(d), mask) @ v`.
    """

    bottoms = (2, 4)
    tops = (1, 2)
    versions = ">= v3.7"
    heads: int = param("num_attention_heads", default=1, minimum=1)
    transpose_b: bool | None = param("transpose_b", default=None)
    top_names: tuple[str, ...] = param("top", default=())

    def build(self, q: Value, k: Value, *rest: Value) -> Value | tuple[Value, ...]:
        tops = len(self.top_names) or 1
        if tops == 2 and len(rest) != 1:
            raise ShapeError(f"MultiHeadAttention has two tops only where it has three bottoms, not {2 + len(rest)}")
        if tops == 2:
            return self._scores_and_values(q, k, *rest)
        if rest:
            return Attention(self.heads, masked=len(rest) == 2)(q, k, *rest)
        if q.type.rank == 4 and self.transpose_b is False:
            return _merge_heads(q, k)
        return self._scores(q, k)

    def _scores_and_values(self, q: Value, k: Value, v: Value) -> tuple[Value, Value]:
        if not q.shape == k.shape == v.shape or q.type.rank != 3:
            raise ShapeError(f"{q.type}, {k.type} and {v.type} must all be the same [B, s, H]")
        return self._scores(q, k), self._split(v)

    def _scores(self, q: Value, k: Value) -> Value:
        """[B, h, F, T] from 4D operands with their heads apart or from 3D ones of equal length."""
        if q.type.rank == k.type.rank == 3 and q.shape == k.shape and self._may_split:
            q, k = self._split(q), self._split(k)
        width = q.shape[-1]
        if q.type.rank != 4 or k.type.rank != 4 or q.shape[:2] != k.shape[:2] or not isinstance(width, int):
            raise ShapeError(
                f"attention scores of {q.type} and {k.type}: they must be [B, h, F, d] and [B, h, T, d], or both the "
                "same [B, s, H]" + ("" if self._may_split else ", which with transpose_b needs a third bottom")
            )
        scores = q @ Transpose((0, 1, 3, 2))(k)
        return scores if self.transpose_b is None else scores / math.sqrt(width)

    @property
    def _may_split(self) -> bool:
        """Generation C, which writes `transpose_b`, takes two 3D bottoms only with a third one, the values."""
        return self.transpose_b is None or len(self.top_names) == 2

    def _split(self, x: Value) -> Value:
        """[B, s, H] -> [B, heads, s, H / heads]"""
        apart = Reshape((*x.shape[:2], self.heads, head_width(x.type, self.heads)))(x)
        return Transpose((0, 2, 1, 3))(apart)


def _merge_heads(p: Value, v: Value) -> Value:
    """p [B, h, F, T] and v [B, h, T, d] -> [B, F, h * d]"""
    if v.type.rank != 4 or p.shape[:2] != v.shape[:2]:
        raise ShapeError(f"attention of {p.type} over {v.type}: they must be [B, h, F, T] and [B, h, T, d]")
    merged = Transpose((0, 2, 1, 3))(p @ v)
    return Reshape((*merged.shape[:2], elements(merged.shape[2:])))(merged)
