"""Factorization machines."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from hugectr2onnx.errors import ShapeError
from hugectr2onnx.ir.op import Emitter, Op
from hugectr2onnx.ir.types import Array, TensorType


@dataclass(frozen=True)
class FactorizationMachine(Op):
    """The products of all pairs of slots, summed: `((sum_s x)^2 - sum_s x^2) / 2` (layers 3.14).

    [B, S, V] -> [B, V]
    """

    def infer(self, x: TensorType) -> TensorType:
        if x.rank != 3:
            raise ShapeError(f"{self.mnemonic} of {x}: the operand must be [batch, slot, vector]")
        return x.with_shape(x.shape[0], x.shape[2])

    def evaluate(self, x: Array) -> Array:
        total = x.sum(1)
        return np.asarray((total * total - (x * x).sum(1)) * x.dtype.type(0.5))

    def emit(self, out: Emitter, x: str) -> str:
        slot = out.const([1], "i64")
        total = out.node("ReduceSum", x, slot, keepdims=0)
        squares = out.node("ReduceSum", out.node("Mul", x, x), slot, keepdims=0)
        difference = out.node("Sub", out.node("Mul", total, total), squares)
        return out.node("Mul", difference, out.const(0.5))
