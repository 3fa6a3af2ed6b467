"""A model without its weights, and the way back: what onnxsim gets, and what is taken from its answer.

Large initializers become graph inputs of the same name. The tables of a LabelEncoder become one-element placeholders
that no other node has, so that two of them are never taken for the same and a folded one is noticed.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import numpy as np
import onnx
from onnx import helper, numpy_helper

from hugectr2onnx.backend.onnx.protobuf_stream import serialise, without

_STRIPPED_BYTES = 64 << 10
"""An initializer above this many bytes becomes an input."""


class SkeletonError(Exception):
    """The model cannot be sent, or the answer cannot be used; the message says why. It never leaves the backend."""


@dataclass(frozen=True, eq=False)
class Skeleton:
    """`model` is sent; `original` is where everything that was taken out is found again."""

    model: onnx.ModelProto
    original: onnx.ModelProto
    inputs: frozenset[str]
    placeholders: dict[str, onnx.NodeProto]


def strip(original: onnx.ModelProto) -> Skeleton:
    """Take the weights out. Raises SkeletonError for a model that could not be put together again."""
    graph = original.graph
    names = Counter(node.name for node in graph.node)
    if "" in names or len(names) < len(graph.node):
        raise SkeletonError("the nodes of the model do not have names of their own")
    if any(_has_subgraph(node) for node in graph.node):
        raise SkeletonError("the model has control flow")
    large = [tensor for tensor in graph.initializer if _is_large(tensor)]
    placeholders = {n.name: _placeholder(n, i) for i, n in enumerate(graph.node) if _has_tables(n)}
    model = without(original, "graph", "metadata_props")
    model.graph.MergeFrom(without(graph, "node", "initializer", "value_info"))
    model.graph.node.extend(placeholders.get(node.name, node) for node in graph.node)
    model.graph.input.extend(helper.make_tensor_value_info(t.name, t.data_type, list(t.dims)) for t in large)
    model.graph.initializer.extend(tensor for tensor in graph.initializer if not _is_large(tensor))
    return Skeleton(model, original, frozenset(tensor.name for tensor in large), placeholders)


def restore(skeleton: Skeleton, answer: onnx.ModelProto) -> onnx.ModelProto:
    """Return the original with the nodes and constants of the answer, and with everything else as it was.

    Inputs, outputs, operator sets and metadata are the original's. A node that the original has by name gets its
    metadata back; names that onnxsim made up are replaced by ones that depend on the model only. Raises SkeletonError.
    """
    _require_same_interface(skeleton.model, answer)
    _require_placeholders(skeleton, answer)
    original = skeleton.original
    model = without(original, "graph")
    model.graph.MergeFrom(without(original.graph, "node", "initializer", "value_info"))
    model.graph.node.extend(_restored_nodes(skeleton, answer))
    model.graph.initializer.extend(_restored_initializers(skeleton, model, answer))
    _rename(model, original)
    known = {name for node in model.graph.node for name in node.output}
    model.graph.value_info.extend(value for value in original.graph.value_info if value.name in known)
    return model


def _is_large(tensor: onnx.TensorProto) -> bool:
    return tensor.data_location == onnx.TensorProto.EXTERNAL or tensor.ByteSize() > _STRIPPED_BYTES


def _has_tables(node: onnx.NodeProto) -> bool:
    return node.op_type == "LabelEncoder" and any(attribute.HasField("t") for attribute in node.attribute)


def _has_subgraph(node: onnx.NodeProto) -> bool:
    return any(attribute.HasField("g") or attribute.graphs for attribute in node.attribute)


def _placeholder(node: onnx.NodeProto, number: int) -> onnx.NodeProto:
    """Return the node with one element, its own number, in place of each tensor."""
    copy = without(node, "attribute")
    for attribute in node.attribute:
        if attribute.HasField("t"):
            copy.attribute.append(helper.make_attribute(attribute.name, _element(attribute.t, number)))
        else:
            copy.attribute.append(attribute)
    return copy


def _element(tensor: onnx.TensorProto, number: int) -> onnx.TensorProto:
    if tensor.data_type == onnx.TensorProto.STRING:
        return onnx.TensorProto(name=tensor.name, data_type=tensor.data_type, dims=[1], string_data=[b"%d" % number])
    dtype = helper.tensor_dtype_to_np_dtype(tensor.data_type)
    return numpy_helper.from_array(np.array([number], dtype), tensor.name)


def _require_same_interface(sent: onnx.ModelProto, answer: onnx.ModelProto) -> None:
    same = {
        "inputs": _types(sent.graph.input) == _types(answer.graph.input),
        "outputs": _types(sent.graph.output) == _types(answer.graph.output),
        "operator sets": _operator_sets(sent) == _operator_sets(answer),
        "IR version": sent.ir_version == answer.ir_version,
        "functions": len(sent.functions) == len(answer.functions),
    }
    changed = [what for what, is_same in same.items() if not is_same]
    if changed:
        raise SkeletonError(f"onnxsim changed the model's {' and '.join(changed)}")


def _types(values: Iterable[onnx.ValueInfoProto]) -> list[tuple[str, bytes]]:
    return [(value.name, serialise(value.type)) for value in values]


def _operator_sets(model: onnx.ModelProto) -> list[tuple[str, int]]:
    return sorted((entry.domain, entry.version) for entry in model.opset_import)


def _require_placeholders(skeleton: Skeleton, answer: onnx.ModelProto) -> None:
    found = {node.name: node for node in answer.graph.node if _has_tables(node)}
    for name, sent in skeleton.placeholders.items():
        if name not in found or _tables(found[name]) != _tables(sent):
            raise SkeletonError(f"onnxsim changed the key table of node {name}")
    if len(found) != len(skeleton.placeholders):
        raise SkeletonError("onnxsim made key tables of its own")
    if any(_has_subgraph(node) for node in answer.graph.node):
        raise SkeletonError("onnxsim made control flow")


def _tables(node: onnx.NodeProto) -> dict[str, list[object]]:
    return {a.name: numpy_helper.to_array(a.t).tolist() for a in node.attribute if a.HasField("t")}


def _restored_nodes(skeleton: Skeleton, answer: onnx.ModelProto) -> Iterator[onnx.NodeProto]:
    """Yield the nodes with the metadata that onnxsim took; those it made get that of the node whose result they read."""
    originals = {node.name: node for node in skeleton.original.graph.node}
    makers: dict[str, onnx.NodeProto] = {}
    for node in answer.graph.node:
        source = originals.get(node.name)
        restored = without(node, "metadata_props", "doc_string", *(("attribute",) if _has_tables(node) else ()))
        if source is not None:
            restored.metadata_props.extend(source.metadata_props)
            if source.doc_string:
                restored.doc_string = source.doc_string
            if _has_tables(node):
                restored.attribute.extend(source.attribute)
        elif maker := next((makers[name] for name in node.input if name in makers), None):
            restored.metadata_props.extend(maker.metadata_props)
        makers.update(dict.fromkeys(node.output, restored))
        yield restored


def _restored_initializers(
    skeleton: Skeleton, model: onnx.ModelProto, answer: onnx.ModelProto
) -> Iterator[onnx.TensorProto]:
    """Yield the original's in their order, as far as they are still used, then the new ones."""
    answered = {tensor.name: tensor for tensor in answer.graph.initializer}
    used = {name for node in model.graph.node for name in node.input} | {output.name for output in model.graph.output}
    for before in skeleton.original.graph.initializer:
        if before.name in answered:
            yield _small_tensor(answered.pop(before.name), before)
        elif before.name in skeleton.inputs and before.name in used:
            yield before
    for tensor in answered.values():
        yield _small_tensor(tensor, None)


def _small_tensor(tensor: onnx.TensorProto, before: onnx.TensorProto | None) -> onnx.TensorProto:
    """Return the tensor as the original spells it; else with its payload in `raw_data`."""
    if before is not None and _content(before) == _content(tensor):
        return before
    if tensor.data_type == onnx.TensorProto.STRING:
        return tensor
    return numpy_helper.from_array(numpy_helper.to_array(tensor), tensor.name)


def _content(tensor: onnx.TensorProto) -> tuple[int, tuple[int, ...], bytes]:
    array = numpy_helper.to_array(tensor)
    payload = repr(array.tolist()).encode() if tensor.data_type == onnx.TensorProto.STRING else array.tobytes()
    return tensor.data_type, tuple(tensor.dims), payload


def _rename(model: onnx.ModelProto, original: onnx.ModelProto) -> None:
    """Number the names that onnxsim made up: its own depend on what the process did before."""
    graph = model.graph
    values = _fresh(_value_names(model), set(_value_names(original)), "folded")
    nodes = _fresh((n.name for n in graph.node), {n.name for n in original.graph.node}, "simplified")
    if len({*nodes.values()} | {n.name for n in graph.node if n.name not in nodes}) < len(graph.node):
        raise SkeletonError("onnxsim gave two nodes the same name")
    for node in graph.node:
        node.name = nodes.get(node.name, node.name)
        node.input[:] = [values.get(name, name) for name in node.input]
        node.output[:] = [values.get(name, name) for name in node.output]
    for tensor in graph.initializer:
        tensor.name = values.get(tensor.name, tensor.name)


def _value_names(model: onnx.ModelProto) -> Iterator[str]:
    for node in model.graph.node:
        yield from node.input
        yield from node.output
    for tensor in model.graph.initializer:
        yield tensor.name
    for value in (*model.graph.input, *model.graph.output):
        yield value.name


def _fresh(names: Iterable[str], taken: set[str], stem: str) -> dict[str, str]:
    fresh: dict[str, str] = {}
    for name in names:
        if name and name not in taken and name not in fresh:
            number = len(fresh)
            while f"{stem}_{number}" in taken:
                number += 1
            fresh[name] = f"{stem}_{number}"
            taken.add(fresh[name])
    return fresh
