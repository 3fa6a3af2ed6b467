"""Gather."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from hugectr2onnx.errors import GraphJsonError, ShapeError
from hugectr2onnx.frontend.layers.layer import Layer, param
from hugectr2onnx.ir.graph import Value
from hugectr2onnx.ir.ops.shape import Take
from hugectr2onnx.ir.types import TensorType


@dataclass(frozen=True)
class GatherLayer(Layer, types=("Gather",)):
    """top[i] = bottom[indices[i]]: rows, that is samples, by number (layers 3.21). [B, d] -> [len(indices), d]"""

    versions = ">= v3.1"
    indices: tuple[int, ...] = param("indices")

    def build(self, x: Value) -> Value:
        if not self.indices or min(self.indices) < 0:
            raise GraphJsonError(f"Gather needs a list of rows from 0 on as indices, not {list(self.indices)}")
        if x.type.rank != 2:
            raise ShapeError(f"Gather takes [B, d], not {x.type}")
        return Take(0, self.indices)(x)

    def caveats(self, *bottoms: TensorType) -> Iterator[str]:
        yield (
            f"Gather takes rows of the batch: every batch must have more than {max(self.indices)} rows, and the output "
            f"has {len(self.indices)} rows whatever the batch. No HugeCTR release can run this layer from Python"
        )
