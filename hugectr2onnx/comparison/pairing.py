"""Pair the tensors of two sides by name, and say why the others cannot be paired."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass

from hugectr2onnx.comparison.sides import FileSide, ModelSide, Recording, Side
from hugectr2onnx.comparison.tensors import NamedTensor, Outline, layer_of_node, outline_of, outline_of_file, values_of
from hugectr2onnx.ir.graph import Value
from hugectr2onnx.ir.ops.shape import Slice
from hugectr2onnx.ir.ops.structural import Identity


@dataclass(frozen=True)
class Pairing:
    """`names` of the reference with those of the other side; `reasons` for tensors that have no partner."""

    outline: Outline
    names: Mapping[str, str]
    reasons: Mapping[str, str]


def pair(reference: Side, other: Side) -> Pairing:
    """Pair by name: a HugeCTR model lists all its tensors, other sides those that both have."""
    available = _names(other)
    if isinstance(reference, ModelSide):
        return _with_model(reference, other, available)
    shared = [name for name in _names(reference) if name in set(available)]
    file = next((side for side in (reference, other) if isinstance(side, FileSide)), None)
    if file is not None:
        outline = outline_of_file(file.artifact.skeleton.graph, set(shared))
    else:
        outline = Outline(tuple(NamedTensor(name, name) for name in shared), {})
    return Pairing(outline, {tensor.name: tensor.name for tensor in outline.tensors}, {})


def _names(side: Side) -> list[str]:
    if isinstance(side, FileSide):
        return side.tensors
    if isinstance(side, Recording):
        return list(side.arrays)
    return list(values_of(side.source.loaded))


def _with_model(reference: ModelSide, other: Side, available: Collection[str]) -> Pairing:
    outline, values = outline_of(reference.source.loaded), values_of(reference.source.loaded)
    there = set(available)
    names = {tensor.name: tensor.name for tensor in outline.tensors if tensor.name in there}
    names |= _only_outputs(reference, other, names)
    # Dropout and the like give their input: a tensor may go by another name of the same value.
    twins = {_copied(value): name for name, value in values.items() if name in there}
    for tensor in outline.tensors:
        twin = twins.get(_copied(values[tensor.name]))
        if tensor.name not in names and twin is not None:
            names[tensor.name] = twin
    reasons = {t.name: _reason(t, other) for t in outline.tensors if t.name not in names}
    return Pairing(outline, {t.name: names[t.name] for t in outline.tensors if t.name in names}, reasons)


def _copied(value: Value) -> Value:
    """Tell what a value is a copy of."""
    while isinstance(value.op, Identity) or (isinstance(value.op, Slice) and value.type == value.inputs[0].type):
        value = value.inputs[0]
    return value


def _only_outputs(reference: ModelSide, other: Side, names: Collection[str]) -> dict[str, str]:
    """Return the one output of each side, whatever it is called."""
    ours = list(reference.source.loaded.graph.outputs)
    if not isinstance(other, FileSide) or len(ours) != 1 or len(other.outputs) != 1 or ours[0] in names:
        return {}
    return {ours[0]: other.outputs[0]}


def _reason(tensor: NamedTensor, other: Side) -> str:
    if isinstance(other, Recording):
        return "not recorded"
    if isinstance(other, FileSide):
        found = list(_holding(tensor.layer, other))
        if found:
            return f"fused into {found[-1]}"
        return "the file has no tensor of this name"
    return "the other model has no tensor of this name"


def _holding(layer: str, file: FileSide) -> Iterable[str]:
    """Yield the tensors of nodes that hold a layer."""
    for node in file.artifact.skeleton.graph.node:
        if layer in layer_of_node(node).split(", "):
            yield from (name for name in node.output if "/" not in name)
