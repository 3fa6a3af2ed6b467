"""Finding the parts of the floor in a compiled model, at a batch size."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import onnx
from onnx import numpy_helper

from hugectr2onnx.backend.onnx.artifact import Artifact
from hugectr2onnx.backend.runtime import sessions
from hugectr2onnx.ir.types import Array
from hugectr2onnx.latency.bound_calls import Feed, Settings
from hugectr2onnx.latency.floor import FloorParts, MatrixProduct, Part, TableGather

HIDING = ("Attention", "MultiHeadAttention", "GroupQueryAttention", "Conv", "LSTM", "RNN", "Einsum", "QLinearMatMul")
"""Operators with products inside that this module does not take apart."""
_PRODUCTS = ("MatMul", "Gemm", "FusedMatMul", "GRU")


class Probe:
    """A compiled model whose products and gathers can be looked into: which there are, and what runs through them."""

    def __init__(self, artifact: Artifact):
        self._tensors = artifact.tensors
        self._initializers = {tensor.name: tensor for tensor in artifact.skeleton.graph.initializer}
        nodes = list(artifact.skeleton.graph.node)
        self._constants = _constant_names(nodes, self._initializers)
        self._products = [node for node in nodes if node.op_type in _PRODUCTS and self._counts(node)]
        self._gathers = [node for node in nodes if node.op_type == "Gather" and self._reads_table(node)]
        self._uncounted = tuple(sorted({node.op_type for node in nodes if node.op_type in HIDING}))
        watched = {name for node in self._products for name in node.input if name}
        watched |= {name for node in self._gathers for name in node.input}
        inputs = {entry.name for entry in artifact.skeleton.graph.input}
        self._watched = sorted(watched - self._initializers.keys() - inputs)
        self._session = sessions.session(
            _exposing(artifact, self._watched), options=Settings(optimization="none").options()
        )

    def look(self, feeds: Sequence[Feed]) -> tuple[FloorParts, list[dict[str, Array]]]:
        """Return the parts at the batch of these feeds, and for each feed the indices of every gather."""
        seen = [self._run(feed) for feed in feeds]
        shapes = {name: array.shape for name, array in seen[0].items()}
        shapes |= {name: tuple(tensor.dims) for name, tensor in self._initializers.items()}
        counts: Counter[Part] = Counter()
        for node in self._products:
            counts.update(_parts_of(node, shapes, self._constants))
        gathers = [TableGather(node.input[0], node.input[1]) for node in self._gathers]
        counts.update(gathers)
        indices = [{gather.indices: arrays[gather.indices] for gather in gathers} for arrays in seen]
        return FloorParts(dict(counts), self._uncounted), indices

    def table(self, name: str) -> Array:
        """Return the rows of a table."""
        if name in self._tensors:
            return self._tensors[name].materialise()
        return numpy_helper.to_array(self._initializers[name])

    def _run(self, feed: Feed) -> dict[str, Array]:
        # onnxruntime takes an empty list of outputs for all of them.
        return {**feed, **(sessions.run(self._session, feed, self._watched) if self._watched else {})}

    def _counts(self, node: onnx.NodeProto) -> bool:
        """Tell whether no rewriting removes the product: it depends on the inputs and multiplies with real weights."""
        operands = list(node.input[:2])
        if all(name in self._constants for name in operands):
            return False
        return not any(self._is_selection(name) for name in operands)

    def _is_selection(self, name: str) -> bool:
        if name not in self._initializers:
            return False
        others = self.table(name)[self.table(name) != 0]
        return bool(np.all(others == others[:1]))

    def _reads_table(self, node: onnx.NodeProto) -> bool:
        table = self._initializers.get(node.input[0])
        axis = next((attribute.i for attribute in node.attribute if attribute.name == "axis"), 0)
        floats = table is not None and table.data_type == onnx.TensorProto.FLOAT
        return floats and axis == 0 and node.input[1] not in self._constants


def _constant_names(nodes: Sequence[onnx.NodeProto], initializers: Mapping[str, Any]) -> set[str]:
    constants = set(initializers)
    for node in nodes:
        if all(name in constants for name in node.input if name):
            constants.update(node.output)
    return constants


def _exposing(artifact: Artifact, names: Sequence[str]) -> Artifact:
    """Return the same model with further outputs."""
    model = onnx.ModelProto()
    model.CopyFrom(artifact.skeleton)
    present = {output.name for output in model.graph.output}
    model.graph.output.extend(onnx.ValueInfoProto(name=name) for name in names if name not in present)
    return Artifact(model, artifact.tensors)


def _parts_of(
    node: onnx.NodeProto, shapes: Mapping[str, tuple[int, ...]], constants: set[str]
) -> Iterator[MatrixProduct]:
    attributes = {attribute.name: attribute.i for attribute in node.attribute}
    left, right = (shapes[name] for name in node.input[:2])
    if node.op_type == "GRU":
        yield from _gru_products(left, right, shapes[node.input[2]])
        return
    flips = (bool(attributes.get("transA")), bool(attributes.get("transB")))
    yield MatrixProduct(left, right, *flips, constant=node.input[1] in constants)


def _gru_products(x: tuple[int, ...], w: tuple[int, ...], r: tuple[int, ...]) -> Iterator[MatrixProduct]:
    """Yield all steps against w at once, then each step's state against r."""
    steps, rows, width = x
    yield MatrixProduct((steps * rows, width), (width, w[1]))
    for _ in range(steps):
        yield MatrixProduct((rows, r[2]), (r[2], r[1]))
