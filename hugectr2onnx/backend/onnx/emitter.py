"""Graph -> ONNX: the only writer of nodes. Names become unique here, and only here.

A constant appears in the model when a node first names it, so that an op may also consume one in another form (a table's
keys become an attribute). Constants of 1 MB and more stay outside protobuf, in the artifact's tensors.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import onnx
from onnx import helper, numpy_helper

from hugectr2onnx.backend.onnx.artifact import Artifact, Blob
from hugectr2onnx.backend.onnx.node_layers import note_layers
from hugectr2onnx.errors import UnsupportedError
from hugectr2onnx.ir.graph import Graph, Node, Value
from hugectr2onnx.ir.ops.structural import Const, Input, Outputs
from hugectr2onnx.ir.types import Array, Batch, DType, TensorType, Width
from hugectr2onnx.tables.gathered import Converted, Gathered, TensorData

PRODUCER = "hugectr2onnx"
ML_OPSET = 4
"""ai.onnx.ml from which LabelEncoder takes tensors."""
INLINE_LIMIT = 1 << 20
SMALL_PART = 1 << 16
ELEMENT_TYPES = {
    DType.F32: onnx.TensorProto.FLOAT,
    DType.I64: onnx.TensorProto.INT64,
    DType.I32: onnx.TensorProto.INT32,
    DType.I8: onnx.TensorProto.INT8,
    DType.U8: onnx.TensorProto.UINT8,
    DType.BOOL: onnx.TensorProto.BOOL,
}


def emit(graph: Graph, *, graph_name: str, opset: int, version: str, metadata: Mapping[str, str]) -> Artifact:
    """Return the artifact for a graph: one expansion per op, inputs and outputs as the interface has them, in its order.

    `opset` is the least: an op may need a later one. Raises UnsupportedError where the installed onnx does not know it.
    """
    opset = max(opset, *(node.op.least_opset for node in graph))
    ir_version = ir_version_of(opset)
    emitter = OnnxEmitter(graph, opset)
    for node in graph:
        emitter.visit(node)
    inputs = [value_info(value.node.name, value.type) for value in graph.inputs]
    outputs = [value_info(name, value.type) for name, value in graph.outputs.items()]
    body = helper.make_graph(emitter.onnx_nodes, graph_name, inputs, outputs, emitter.initializers)
    imports = [helper.make_opsetid("", opset), *(helper.make_opsetid(d, v) for d, v in sorted(emitter.domains.items()))]
    model = helper.make_model(body, opset_imports=imports, ir_version=ir_version)
    model.producer_name, model.producer_version = PRODUCER, version
    helper.set_model_props(model, dict(metadata))
    return Artifact(model, emitter.blobs)


def ir_version_of(opset: int) -> int:
    """Return the IR version that came with an opset; raises UnsupportedError for one later than the installed onnx."""
    versions = {version: ir for (domain, version), ir in helper.OP_SET_ID_VERSION_MAP.items() if domain == "ai.onnx"}
    if opset not in versions:
        raise UnsupportedError(
            f"opset {opset} is later than the installed onnx {onnx.__version__} knows, up to {max(versions)}: "
            "install a newer onnx"
        )
    return versions[opset]


def value_info(name: str, type: TensorType) -> onnx.ValueInfoProto:
    """Return an interface entry; one that carries the batch or that a caller chooses is symbolic: `N`, `26N`, `nnz_c`."""
    shape = [str(dim) if isinstance(dim, Batch | Width) else dim for dim in type.shape]
    return helper.make_tensor_value_info(name, ELEMENT_TYPES[type.dtype], shape)


class OnnxEmitter:
    """The writer of nodes that ops emit to (`ir.op.Emitter`)."""

    def __init__(self, graph: Graph, opset: int):
        self.opset = opset
        self.onnx_nodes: list[onnx.NodeProto] = []
        self.initializers: list[onnx.TensorProto] = []
        self.blobs: dict[str, Blob] = {}
        self.domains: dict[str, int] = {}
        self._outputs = graph.outputs
        self._names: dict[Value, str] = {}
        self._taken = {"", *self._outputs, *(value.node.name for value in graph.inputs)}
        self._constants: dict[str, Array] = {}
        self._types: dict[str, TensorType] = {}
        self._small: dict[tuple[str, tuple[int, ...], bytes], str] = {}
        self._stacks: dict[tuple[object, ...], tuple[str, tuple[TensorData, ...]]] = {}
        self._written: set[str] = set()
        self._hint = ""
        self._sources: tuple[str, ...] = ()

    def visit(self, node: Node) -> None:
        """Write one node of the IR."""
        if isinstance(node.op, Outputs):
            self._write_outputs(node)
        elif isinstance(node.op, Input):
            self._bind(node.results[0], node.name)
        elif isinstance(node.op, Const):
            name = self._unique(node.name or "const")
            self._constants[name] = node.op.array
            self._bind(node.results[0], name)
        else:
            self._write(node)

    def _write(self, node: Node) -> None:
        self._hint, self._sources = _hint(node), node.sources
        first = len(self.onnx_nodes)
        emitted = node.op.emit(self, *(self._names[operand] for operand in node.inputs))
        for value, name in zip(node.results, (emitted,) if isinstance(emitted, str) else emitted, strict=True):
            self._bind(value, self._rename(name, self._final_name(value), first))

    def _final_name(self, value: Value) -> str:
        output = next((name for name, other in self._outputs.items() if other == value), None)
        return output or self._unique(_hint(value.node))

    def _rename(self, name: str, final: str, first: int) -> str:
        """Give a result its final name, if one of the nodes from `first` on makes it; else leave it."""
        mine = self.onnx_nodes[first:]
        if not any(name in node.output for node in mine):
            return name
        for node in mine:
            node.output[:] = [final if other == name else other for other in node.output]
            node.input[:] = [final if other == name else other for other in node.input]
        return final

    def _write_outputs(self, node: Node) -> None:
        self._sources = node.sources
        for name, value in self._outputs.items():
            if self._names[value] != name:
                self._hint = name
                self._append("Identity", [self._names[value]], [name], "", {})

    def _bind(self, value: Value, name: str) -> None:
        self._names[value] = name
        self._types[name] = value.type

    def _unique(self, hint: str) -> str:
        name, number = hint, 1
        while name in self._taken:
            number += 1
            name = f"{hint}_{number}"
        self._taken.add(name)
        return name

    # What ops call

    def node(self, op_type: str, *inputs: str, domain: str = "", **attributes: Any) -> str:
        return self.nodes(op_type, *inputs, outputs=1, domain=domain, **attributes)[0]

    def nodes(self, op_type: str, *inputs: str, outputs: int, domain: str = "", **attributes: Any) -> list[str]:
        names = [self._unique(f"{self._hint}/{op_type}.out") for _ in range(outputs)]
        self._append(op_type, list(inputs), names, domain, attributes)
        return names

    def loop(
        self,
        condition: str,
        carried: Sequence[tuple[str, DType]],
        body: Callable[[Sequence[str]], tuple[str, Sequence[str]]],
    ) -> list[str]:
        types = [(onnx.TensorProto.BOOL, condition), *((ELEMENT_TYPES[dtype], name) for name, dtype in carried)]
        taken = [self._unique(f"{self._hint}/Loop.in") for _ in types]
        outside, self.onnx_nodes = self.onnx_nodes, []
        next_condition, results = body(taken[1:])
        turn, self.onnx_nodes = self.onnx_nodes, outside
        count = helper.make_tensor_value_info(self._unique(f"{self._hint}/Loop.count"), onnx.TensorProto.INT64, [])
        # Shapes stay open, for what is carried may grow; that of the condition must be told (onnxruntime 1.20).
        shapes: list[list[int] | None] = [[], *([None] * len(carried))]
        inputs, outputs = (
            [
                helper.make_tensor_value_info(n, type, shape)
                for (type, _), n, shape in zip(types, names, shapes, strict=True)
            ]
            for names in (taken, [next_condition, *results])
        )
        graph = helper.make_graph(turn, self._unique(f"{self._hint}/turn"), [count, *inputs], outputs)
        first = [name for name, _ in carried]
        return self.nodes("Loop", "", condition, *first, outputs=len(first), body=graph)

    def const(self, value: Any, dtype: str = "f32") -> str:
        array = np.array(value, DType(dtype).numpy)
        key = (dtype, array.shape, array.tobytes())
        if key not in self._small:
            name = self._unique("const")
            self._constants[name] = array
            self._types[name] = TensorType(DType(dtype), array.shape)
            self._small[key] = name
        return self._small[key]

    def stacked(self, name: str, *parts: TensorData) -> str:
        key = (name, *map(_identity, parts))
        if key not in self._stacks:
            stack = self._unique(f"{name}.rows")
            self._store(stack, Blob(parts))
            # Large parts are known by where they lie, so they must go on lying there.
            self._stacks[key] = stack, parts
        return self._stacks[key][0]

    def array(self, name: str) -> Array:
        return self._constants[name]

    def type(self, name: str) -> TensorType:
        return self._types[name]

    # Writing protobuf

    def _append(
        self, op_type: str, inputs: list[str], outputs: list[str], domain: str, attributes: dict[str, Any]
    ) -> None:
        for name in inputs:
            if name in self._constants and name not in self._written:
                self._store(name, Blob((self._constants[name],)))
        if domain:
            self.domains[domain] = ML_OPSET if domain == "ai.onnx.ml" else 1
        name = self._unique(f"{self._hint}/{op_type}")
        spelled = {key: _attribute(value) for key, value in attributes.items()}
        node = helper.make_node(op_type, inputs, outputs, name=name, domain=domain, **spelled)
        note_layers(node, self._sources)
        self.onnx_nodes.append(node)

    def _store(self, name: str, blob: Blob) -> None:
        self._written.add(name)
        if blob.nbytes < INLINE_LIMIT:
            self.initializers.append(numpy_helper.from_array(np.asarray(blob.materialise(), order="C"), name))
            return
        tensor = onnx.TensorProto(name=name, data_type=helper.np_dtype_to_tensor_dtype(blob.dtype), dims=blob.shape)
        tensor.data_location = onnx.TensorProto.EXTERNAL
        self.initializers.append(tensor)
        self.blobs[name] = blob


def _hint(node: Node) -> str:
    """Return the node's own name, or its layer's with what it does."""
    return node.name or ".".join([*node.sources[-1:], node.op.mnemonic])


def _identity(part: TensorData) -> object:
    """Return the same for parts that hold the same: by content where that is small, else by where they lie."""
    if isinstance(part, Gathered):
        return _identity(part.source), id(part.order), part.fill, part.format
    if isinstance(part, Converted):
        return _identity(part.source), part.format
    if part.nbytes <= SMALL_PART:
        return part.dtype, part.shape, np.ascontiguousarray(part).tobytes()
    place = part.__array_interface__
    return place["data"], part.dtype, part.shape, part.strides


def _attribute(value: Any) -> Any:
    if isinstance(value, DType):
        return ELEMENT_TYPES[value]
    if isinstance(value, np.ndarray):
        return numpy_helper.from_array(np.ascontiguousarray(value))
    return value
