"""Softmax, plain and masked."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from hugectr2onnx.errors import GraphJsonError
from hugectr2onnx.frontend.layers.layer import MAX_FLOAT32, Layer, param
from hugectr2onnx.ir.graph import Value
from hugectr2onnx.ir.ops.attention import MaskedSoftmax
from hugectr2onnx.ir.ops.reduce import Softmax


@dataclass(frozen=True)
class SoftmaxLayer(Layer, types=("Softmax",)):
    """exp(x) / sum(exp(x)) on the last axis; with a mask as second bottom, of `factor * x` where it is 1 (layers 3.17).

    Masked: `z = factor * x - (1 - mask) * 10000; top = exp(z - max) / (sum(exp(z - max)) + 1e-6)`, x [B, h, F, T],
    mask [B, 1, F, T] or [B, 1, 1, T]. Without a mask HugeCTR ignores `factor`.
    """

    bottoms = (1, 2)
    versions = ">= v3.1"
    factor: float = param("factor", default=1.0)

    def build(self, x: Value, *mask: Value) -> Value:
        if not mask:
            return Softmax()(x)
        if not abs(self.factor) <= MAX_FLOAT32:
            raise GraphJsonError(f"Softmax has a factor of {self.factor}, which is no finite float")
        return MaskedSoftmax(float(np.float32(self.factor)))(x, *mask)
