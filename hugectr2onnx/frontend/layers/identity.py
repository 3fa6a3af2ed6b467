"""Layers that change nothing at evaluation."""

from __future__ import annotations

from dataclasses import dataclass

from hugectr2onnx.frontend.layers.layer import Layer
from hugectr2onnx.ir.graph import Value
from hugectr2onnx.ir.ops.structural import Identity


@dataclass(frozen=True)
class DropoutLayer(Layer, types=("Dropout",)):
    """The bottom itself: training scales what it keeps, so evaluation owes nothing (layers 3.8)."""

    def build(self, x: Value) -> Value:
        return Identity()(x)


@dataclass(frozen=True)
class CastLayer(Layer, types=("Cast",)):
    """The bottom itself: between float and half in mixed precision, and all is float here (layers 3.9)."""

    def build(self, x: Value) -> Value:
        return Identity()(x)
