"""DLRM's dot interaction."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from hugectr2onnx.errors import ShapeError
from hugectr2onnx.ir.op import Emitter, Op
from hugectr2onnx.ir.ops.shape import Reshape
from hugectr2onnx.ir.types import Array, TensorType

MAX_INTERACTING_VECTORS = 1024
"""The products of n vectors grow with n squared, and n comes from a JSON file."""


@dataclass(frozen=True)
class DotInteraction(Op):
    """The vector, its dot products with the embeddings and theirs with one another, and a zero (layers 3.13).

    For x [B, w] and e [B, n, w], with X_0 = x and X_1 ... X_n the rows of e:

    `y = concat(x, [X_i . X_j for i in 1..n for j in 0..i-1], 0)`, which is [B, w + n (n + 1) / 2 + 1].
    """

    def infer(self, x: TensorType, e: TensorType) -> TensorType:
        if x.rank != 2 or e.rank != 3 or (e.shape[0], e.shape[2]) != x.shape:
            raise ShapeError(f"{x} and {e} cannot interact: they must be [B, w] and [B, n, w]")
        _, width = x.shape
        count = e.shape[1]
        if not isinstance(width, int) or not isinstance(count, int):
            raise ShapeError(f"{x} and {e} cannot interact: only their first dimension may carry the batch")
        if count > MAX_INTERACTING_VECTORS:
            raise ShapeError(
                f"{e} has {count} vectors to interact, and at most {MAX_INTERACTING_VECTORS} are supported"
            )
        return x.with_shape(x.shape[0], width + count * (count + 1) // 2 + 1)

    def evaluate(self, x: Array, e: Array) -> Array:
        vectors = np.concatenate([x[:, np.newaxis], e], axis=1)
        products = vectors @ vectors.transpose(0, 2, 1)
        later, earlier = np.tril_indices(vectors.shape[1], -1)
        return np.concatenate([x, products[:, later, earlier], np.zeros_like(x, shape=(len(x), 1))], axis=1)

    def emit(self, out: Emitter, x: str, e: str) -> str:
        batch, width = out.type(x).shape
        count = out.type(e).shape[1]
        assert isinstance(count, int)
        total = count + 1
        vectors = out.node("Concat", Reshape((batch, 1, width)).emit(out, x), e, axis=1)
        products = out.node("MatMul", vectors, out.node("Transpose", vectors, perm=[0, 2, 1]))
        later, earlier = np.tril_indices(total, -1)
        flat = Reshape((batch, total * total)).emit(out, products)
        pairs = out.node("Gather", flat, out.const(later * total + earlier, "i64"), axis=1)
        joined = out.node("Concat", x, pairs, axis=1)
        return out.node("Pad", joined, out.const([0, 0, 0, 1], "i64"))
