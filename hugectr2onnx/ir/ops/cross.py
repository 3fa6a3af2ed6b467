"""Cross networks: explicit products of features, one order higher with every layer (layers 3.4).

The operands are x0 and then the weights of every layer in turn.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from hugectr2onnx.errors import ShapeError
from hugectr2onnx.ir.op import Emitter, Op
from hugectr2onnx.ir.types import Array, TensorType


@dataclass(frozen=True)
class CrossNetwork(Op):
    """DCN's: `x = x0 * (x @ w) + x + b`, w being [n, 1] and b [n]; the bias stays outside the product."""

    def infer(self, x: TensorType, *weights: TensorType) -> TensorType:
        width = _width(self, x)
        _require(self, x, weights, ((width, 1), (width,)))
        return x

    def evaluate(self, x: Array, *weights: Array) -> Array:
        crossed = x
        for w, b in zip(weights[::2], weights[1::2], strict=True):
            crossed = x * (crossed @ w) + crossed + b
        return np.asarray(crossed)

    def emit(self, out: Emitter, x: str, *weights: str) -> str:
        crossed = x
        for w, b in zip(weights[::2], weights[1::2], strict=True):
            product = out.node("Mul", x, out.node("MatMul", crossed, w))
            crossed = out.node("Add", out.node("Add", product, crossed), b)
        return crossed


@dataclass(frozen=True)
class LowRankCrossNetwork(Op):
    """DCN v2's: `x = x0 * (x @ u @ v + b) + x`, u being [n, p], v [p, n] and b [n]; the bias is inside the product."""

    def infer(self, x: TensorType, *weights: TensorType) -> TensorType:
        width = _width(self, x)
        rank = weights[0].shape[-1] if weights and weights[0].rank == 2 else 0
        _require(self, x, weights, ((width, rank), (rank, width), (width,)))
        return x

    def evaluate(self, x: Array, *weights: Array) -> Array:
        crossed = x
        for u, v, b in zip(weights[::3], weights[1::3], weights[2::3], strict=True):
            crossed = x * (crossed @ u @ v + b) + crossed
        return np.asarray(crossed)

    def emit(self, out: Emitter, x: str, *weights: str) -> str:
        crossed = x
        for u, v, b in zip(weights[::3], weights[1::3], weights[2::3], strict=True):
            projected = out.node("MatMul", out.node("MatMul", crossed, u), v)
            product = out.node("Mul", x, out.node("Add", projected, b))
            crossed = out.node("Add", product, crossed)
        return crossed


def _width(op: Op, x: TensorType) -> object:
    if x.rank != 2:
        raise ShapeError(f"{op.mnemonic} of {x}: the operand must be a matrix")
    return x.shape[1]


def _require(op: Op, x: TensorType, weights: tuple[TensorType, ...], layer: tuple[tuple[object, ...], ...]) -> None:
    layers, rest = divmod(len(weights), len(layer))
    if rest or [weight.shape for weight in weights] != [*layer] * layers:
        raise ShapeError(f"{op.mnemonic} of {x} with weights of {', '.join(map(str, weights))}")
