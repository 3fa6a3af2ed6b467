"""Losses, which at evaluation turn their first bottom into the prediction (layers 3.27).

The second bottom is the label; regularizer, lambda and target_weight matter in training only.
"""

from __future__ import annotations

from dataclasses import dataclass

from hugectr2onnx.errors import ShapeError
from hugectr2onnx.frontend.layers.inner_product import width
from hugectr2onnx.frontend.layers.layer import Layer
from hugectr2onnx.ir.graph import Value
from hugectr2onnx.ir.ops.elementwise import Sigmoid
from hugectr2onnx.ir.ops.reduce import Softmax


@dataclass(frozen=True)
class Loss(Layer):
    """A layer whose `build` gives the prediction; its top only has a name."""

    bottoms = (1, 2)
    tops = (0, 1)
    reads = 1


@dataclass(frozen=True)
class BinaryCrossEntropyLossLayer(Loss, types=("BinaryCrossEntropyLoss",)):
    """Prediction: `sigmoid(x)` of one column, `[B, 1]` (layers 3.27)."""

    def build(self, x: Value) -> Value:
        _require_columns(x, 1)
        return Sigmoid()(x)


@dataclass(frozen=True)
class CrossEntropyLossLayer(Loss, types=("CrossEntropyLoss",)):
    """Prediction: `softmax(x)` over two columns, `[B, 2]`; column 1 is the label 1 (layers 3.27)."""

    def build(self, x: Value) -> Value:
        _require_columns(x, 2)
        return Softmax()(x)


@dataclass(frozen=True)
class MultiCrossEntropyLossLayer(Loss, types=("MultiCrossEntropyLoss",)):
    """Prediction: `sigmoid(x)` of every column, `[B, k]` (layers 3.27)."""

    def build(self, x: Value) -> Value:
        width(x.type, 2)
        return Sigmoid()(x)


def _require_columns(x: Value, columns: int) -> None:
    found = width(x.type, 2)
    if found != columns:
        raise ShapeError(f"the loss takes {columns} column{'s' * (columns > 1)}, and the bottom {x!r} has {found}")
