"""The diagram of an ONNX file: ours, whose nodes name their HugeCTR layers, or any other."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping

import onnx

from hugectr2onnx.backend.onnx.node_layers import layers_of
from hugectr2onnx.backend.onnx.onnx_file import read_model
from hugectr2onnx.drawing.diagram import Box, Diagram, Edge, Kind, groups_of
from hugectr2onnx.pages.numbers import size

_ELEMENT = (
    "Add Sub Mul Div Pow Relu Sigmoid Tanh Elu Softmax Clip Where Sqrt Exp Log Abs Neg Max Min Sign LayerNormalization"
)
_KINDS: Mapping[Kind, str] = {
    "look-up": "LabelEncoder Gather GatherND GatherElements",
    "product": "MatMul Gemm FusedMatMul FusedGemm MatMulInteger QLinearMatMul MatMulNBits",
    "sequence": "Attention MultiHeadAttention GRU Scan Loop LSTM",
    "element": f"{_ELEMENT} BatchNormalization Equal Greater Less And Or Not IsNaN",
    "reduction": "ReduceSum ReduceMean ReduceMax ReduceSumSquare ReduceProd",
    "move": "Reshape Concat Slice Split Transpose Squeeze Unsqueeze Expand Tile Cast Identity Shape Pad Flatten",
}
KIND_OF_OPERATOR: Mapping[str, Kind] = {name: kind for kind, names in _KINDS.items() for name in names.split()}


def diagram_of_file(path: str | os.PathLike[str]) -> Diagram:
    """Return the diagram of an ONNX file; its data files are not read. Raises FeedError where it is no ONNX file."""
    model = read_model(path)
    return diagram_of_model(model, os.path.basename(os.fspath(path)))


def diagram_of_model(model: onnx.ModelProto, title: str) -> Diagram:
    """Return the diagram of an ONNX model in memory."""
    graph, boxes, edges = model.graph, [], []
    constants = {tensor.name: tensor for tensor in graph.initializer}
    shapes = {each.name: _shape(each) for each in (*graph.input, *graph.value_info, *graph.output)}
    made_by: dict[str, str] = {}
    for each in graph.input:
        if each.name not in constants:
            made_by[each.name] = f"input:{each.name}"
            boxes.append(Box(f"input:{each.name}", each.name, "interface", ("input", shapes[each.name])))
    for number, node in enumerate(graph.node):
        name = f"node{number}"
        made_by.update(dict.fromkeys(node.output, name))
        read = [constants[each] for each in node.input if each in constants]
        table = read[0] if _reads_rows(node, constants) else None
        if table is not None:
            boxes.append(
                Box(f"table:{name}", table.name, "table", (_tensor_line(table),), layers_of(node), _bytes(table))
            )
            edges.append(Edge(f"table:{name}", name))
            read = read[1:]
        boxes.append(_box(node, name, read))
        edges += [Edge(made_by[each], name, shapes.get(each, "")) for each in node.input if each in made_by]
    for each in graph.output:
        boxes.append(Box(f"output:{each.name}", each.name, "interface", ("output", shapes[each.name])))
        edges += [Edge(made_by[each.name], f"output:{each.name}", shapes[each.name])] if each.name in made_by else []
    return Diagram(title, tuple(boxes), tuple(edges), groups_of(boxes))


def _reads_rows(node: onnx.NodeProto, constants: Mapping[str, onnx.TensorProto]) -> bool:
    """Tell whether a node takes rows of a constant by numbers that the model computes."""
    return node.op_type == "Gather" and node.input[0] in constants and node.input[1] not in constants


def _box(node: onnx.NodeProto, name: str, constants: list[onnx.TensorProto]) -> Box:
    attributes = tuple(f"{key}={text}" for key, text in _attributes(node))
    weights = tuple(map(_tensor_line, constants))
    kind = KIND_OF_OPERATOR.get(node.op_type, "other")
    return Box(name, str(node.op_type), kind, (*attributes, *weights), layers_of(node), sum(map(_bytes, constants)))


def _attributes(node: onnx.NodeProto) -> Iterator[tuple[str, str]]:
    """Short ones alone: the keys of a LabelEncoder are no reader's business."""
    for attribute in node.attribute:
        if attribute.type in (onnx.AttributeProto.INT, onnx.AttributeProto.FLOAT):
            yield attribute.name, f"{onnx.helper.get_attribute_value(attribute):g}"
        elif attribute.type == onnx.AttributeProto.INTS and len(attribute.ints) <= 8:
            yield attribute.name, str(list(attribute.ints))


def _tensor_line(tensor: onnx.TensorProto) -> str:
    kind = onnx.TensorProto.DataType.Name(tensor.data_type).lower()
    return f"{tensor.name} {kind}{list(tensor.dims)}, {size(_bytes(tensor))}"


def _bytes(tensor: onnx.TensorProto) -> int:
    count = 1
    for length in tensor.dims:
        count *= length
    return count * onnx.helper.tensor_dtype_to_np_dtype(tensor.data_type).itemsize


def _shape(value: onnx.ValueInfoProto) -> str:
    tensor = value.type.tensor_type
    dims = [str(dim.dim_param or dim.dim_value) if dim.WhichOneof("value") else "?" for dim in tensor.shape.dim]
    return f"[{', '.join(dims)}]"
