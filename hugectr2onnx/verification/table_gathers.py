"""The nodes of an ONNX file that gather rows of a table, by the inputs that decide which rows."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from hugectr2onnx.backend.onnx.artifact import Artifact
from hugectr2onnx.backend.onnx.node_layers import layers_of
from hugectr2onnx.ir.graph import Node

if TYPE_CHECKING:
    import onnx

FLOAT, INT8, FLOAT16 = 1, 3, 10
"""onnx.TensorProto's numbers of the types that rows are stored in."""


class TableGathers:
    """Every Gather along axis 0 from a float, half or int8 initializer."""

    def __init__(self, artifact: Artifact):
        graph = artifact.skeleton.graph
        self.tensors = {tensor.name: tensor for tensor in graph.initializer}
        self.makers = {output: node for node in graph.node for output in node.output}
        self.inputs = {entry.name for entry in graph.input}
        self.nodes = [node for node in graph.node if _gathers_rows(node) and self._is_table(node.input[0])]
        self._deciding: dict[str, frozenset[str]] = {}

    def _is_table(self, name: str) -> bool:
        return name in self.tensors and self.tensors[name].data_type in (FLOAT, INT8, FLOAT16)

    def tensors_of(self, inputs: Sequence[str], width: int) -> dict[str, set[str]]:
        """Return the indices by tensor, of those with rows of a width that keys of these inputs alone decide on."""
        found: dict[str, set[str]] = {}
        for node in self.nodes:
            if self._is_decided(node.input[1], inputs) and _row_width(self.tensors[node.input[0]]) == width:
                found.setdefault(node.input[0], set()).add(self._index_of(node))
        return found

    def indices_of(self, inputs: Sequence[str]) -> list[str]:
        """Return every index into a table that keys of these inputs alone decide on."""
        return list(dict.fromkeys(self._index_of(n) for n in self.nodes if self._is_decided(n.input[1], inputs)))

    def scales_of(self, tensor: str, indices: set[str]) -> str | None:
        """Return the scales of the rows of an int8 table: what is gathered from by the same row numbers."""
        if self.tensors[tensor].data_type != INT8:
            return None
        same = [node.input[0] for node in self.nodes if self._index_of(node) in indices and node.input[0] != tensor]
        return next((name for name in same if _row_width(self.tensors[name]) == 1), None)

    def _index_of(self, node: onnx.NodeProto) -> str:
        """Return row numbers in the order of the keys: a Transpose behind them only says along which axis rows are summed."""
        name = str(node.input[1])
        while name in self.makers and self.makers[name].op_type == "Transpose":
            name = str(self.makers[name].input[0])
        return name

    def likeliest(self, tensors: Mapping[str, set[str]], node: Node) -> list[str]:
        """Return the tensors, those first whose name or whose node's metadata speaks of the look-up."""
        layers = {name for each in self.nodes if set(layers_of(each)) & set(node.sources) for name in each.input[:1]}
        vectors = node.inputs[2].node.name
        return sorted(tensors, key=lambda name: (not (vectors and name.startswith(vectors)), name not in layers))

    def _is_decided(self, tensor: str, inputs: Sequence[str]) -> bool:
        """Tell whether the first of some inputs, perhaps with the others, and nothing else decides on a tensor."""
        deciding = self._decides(tensor)
        return inputs[0] in deciding and deciding <= set(inputs)

    def _decides(self, tensor: str) -> frozenset[str]:
        """Return the inputs of the model that a tensor depends on."""
        if tensor not in self._deciding:
            stack, seen, inputs = [tensor], set(), set()
            while stack:
                name = stack.pop()
                if name in seen:
                    continue
                seen.add(name)
                if name in self.inputs and name not in self.tensors:
                    inputs.add(name)
                if name in self.makers:
                    stack.extend(self.makers[name].input)
            self._deciding[tensor] = frozenset(inputs)
        return self._deciding[tensor]


def _gathers_rows(node: onnx.NodeProto) -> bool:
    return node.op_type == "Gather" and not any(each.name == "axis" and each.i != 0 for each in node.attribute)


def _row_width(tensor: Any) -> int:
    return math.prod(tensor.dims[1:])
