"""Select."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from hugectr2onnx.errors import GraphJsonError, MissingInformationError, Setting
from hugectr2onnx.frontend.layers.layer import Layer, param
from hugectr2onnx.ir.graph import Value
from hugectr2onnx.ir.ops.shape import Take
from hugectr2onnx.ir.types import TensorType


@dataclass(frozen=True)
class SelectLayer(Layer, types=("Select",)):
    """top = take(bottom, index, axis=dim), dim >= 1 (layers 3.20).

    graph_to_json saves neither `dim` nor `index`: give both in `layer_attrs`.
    """

    versions = ">= v23.08"
    dim: int | None = param("dim", default=None)
    index: tuple[int, ...] | None = param("index", default=None)

    def build(self, x: Value) -> Value:
        if self.dim is None or self.index is None:
            raise MissingInformationError(
                f"Select over {x.type} needs `dim` and `index`, which graph_to_json does not save; give them, such as ",
                Setting("layer_attrs", {"<top>": {"dim": 1, "index": [0, 2]}}),
            )
        if self.dim < 1:
            raise GraphJsonError(f"Select has dim {self.dim}; HugeCTR selects along a dimension from 1 on")
        if not self.index or min(self.index) < 0:
            raise GraphJsonError(f"Select needs a list of positions from 0 on as index, not {list(self.index)}")
        return Take(self.dim, self.index)(x)

    def caveats(self, *bottoms: TensorType) -> Iterator[str]:
        yield (
            "Select follows its definition; HugeCTR's own layer scrambles float32 tensors, so a model trained in "
            "float32 predicts something else there"
        )
