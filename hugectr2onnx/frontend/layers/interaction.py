"""Interaction."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from hugectr2onnx.frontend.layers.layer import Layer
from hugectr2onnx.ir.graph import Value
from hugectr2onnx.ir.ops.interaction import DotInteraction
from hugectr2onnx.ir.types import TensorType


@dataclass(frozen=True)
class InteractionLayer(Layer, types=("Interaction",)):
    """top = concat(mlp, [X_i . X_j for i > j], 0), X_0 the mlp and X_1.. the embeddings (layers 3.13).

    mlp [B, w] and embeddings [B, n, w] -> [B, w + n (n + 1) / 2 + 1]; the last column is a zero. A second top is a
    gradient buffer of training.
    """

    bottoms = (2, 2)
    tops = (1, 2)

    def build(self, mlp: Value, embeddings: Value) -> Value:
        return DotInteraction()(mlp, embeddings)

    def caveats(self, *bottoms: TensorType) -> Iterator[str]:
        yield (
            "the last column of Interaction is 0 here; in float32, HugeCTR up to v23.08 never wrote that column: its "
            "own predictions may hold whatever the memory held"
        )
