"""The tensors of a model in the order of its layers, and which layers stand between those that can be compared."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from hugectr2onnx.backend.onnx.node_layers import layers_of
from hugectr2onnx.frontend.layers.layer import REGISTRY
from hugectr2onnx.frontend.layers.loss import Loss
from hugectr2onnx.frontend.loading import Loaded
from hugectr2onnx.ir.graph import Node, Value
from hugectr2onnx.ir.ops.structural import Input

if TYPE_CHECKING:
    import onnx


@dataclass(frozen=True)
class NamedTensor:
    """A tensor that a layer gives: `name` is its top, or the name of an output; `layer` the layer's first top."""

    name: str
    layer: str
    type: str = ""


@dataclass(frozen=True)
class Outline:
    """Tensors in the order of the layers; `bottoms` are the tensors that each layer reads."""

    tensors: tuple[NamedTensor, ...]
    bottoms: Mapping[str, tuple[str, ...]]

    @property
    def layer_of(self) -> dict[str, str]:
        return {tensor.name: tensor.layer for tensor in self.tensors}

    def stretch(self, layer: str, compared: Collection[str]) -> tuple[str, ...]:
        """Return the layers that may be at fault for a layer's output: itself, and those before it that nobody looked into."""
        layer_of, found, stack = self.layer_of, {layer}, [layer]
        while stack:
            for name in self.bottoms.get(stack.pop(), ()):
                before = layer_of.get(name)
                if before is not None and name not in compared and before not in found:
                    found.add(before)
                    stack.append(before)
        order = dict.fromkeys(tensor.layer for tensor in self.tensors)
        return tuple(each for each in order if each in found)


# Of a HugeCTR model


def values_of(loaded: Loaded) -> dict[str, Value]:
    """Return the value of each tensor that HugeCTR names and of each output, inputs left out."""
    graph = loaded.graph
    named = {node.name: node.results[0] for node in graph if node.name and node.types}
    values = {**loaded.values, **graph.outputs}
    # Where the host looks rows up, the look-ups of the graph were replaced after it was imported.
    current = {name: value if value.node in graph else named.get(name) for name, value in values.items()}
    return {name: value for name, value in current.items() if value is not None and not isinstance(value.op, Input)}


def outline_of(loaded: Loaded) -> Outline:
    """Return the tensors of a HugeCTR model: embeddings first, then layers as they stand in the JSON, each with its tops."""
    values = values_of(loaded)
    tensors = [NamedTensor(e.top, e.top, e.type) for e in loaded.clauses.embeddings if e.top in values]
    bottoms: dict[str, tuple[str, ...]] = {e.top: (e.bottom,) for e in loaded.clauses.embeddings}
    known = {tensor.name for tensor in tensors}
    collected = loaded.resolved.collection.lookups if loaded.resolved.collection else ()
    tops = [top for clause in loaded.clauses.layers for top in clause.tops]
    if collected:
        extra = [name for name in loaded.values if name in values and name not in known and name not in tops]
        tensors += [NamedTensor(name, name, "EmbeddingCollection") for name in extra]
    for clause in loaded.clauses.layers:
        layer = clause.tops[0] if clause.tops else clause.type
        bottoms[layer] = clause.bottoms[: REGISTRY[clause.type].reads]
        if issubclass(REGISTRY[clause.type], Loss):
            name = _prediction(clause.bottoms, layer, loaded)
            tensors += [NamedTensor(name, layer, clause.type)] if name else []
        else:
            tensors += [NamedTensor(top, layer, clause.type) for top in clause.tops if top in values]
    return Outline(tuple(tensors), bottoms)


def _prediction(bottoms: Sequence[str], layer: str, loaded: Loaded) -> str | None:
    """Return the output that a loss gives: named after its label, or a copy of it, or its own top."""
    label = bottoms[1] if len(bottoms) > 1 else layer
    names = (loaded.clauses.label_of.get(label, label), label, layer)
    return next((name for name in names if name in loaded.graph.outputs), None)


def nodes_of(nodes: Sequence[Node], layers: Collection[str]) -> list[Node]:
    """Return the nodes that came from some layers."""
    return [node for node in nodes if not {*node.sources, node.name}.isdisjoint(layers)]


# Of an ONNX file


def outline_of_file(graph: onnx.GraphProto, names: Collection[str]) -> Outline:
    """Return tensors of an ONNX file in the order of its nodes; a layer is what the file says of a node, else its output."""
    makers = {output: node for node in graph.node for output in node.output if output}
    tensors = [
        NamedTensor(name, layer_of_node(makers[name]) or name, makers[name].op_type) for name in makers if name in names
    ]
    bottoms: dict[str, tuple[str, ...]] = {}
    for tensor in tensors:
        bottoms[tensor.layer] = (*bottoms.get(tensor.layer, ()), *_nearest(tensor.name, makers, names))
    return Outline(tuple(tensors), bottoms)


def layer_of_node(node: onnx.NodeProto) -> str:
    """Return the HugeCTR layers that a node holds, `fc1, relu1`; nothing in a file of another converter."""
    return ", ".join(layers_of(node))


def _nearest(name: str, makers: Mapping[str, onnx.NodeProto], names: Collection[str]) -> tuple[str, ...]:
    """Return the named tensors that a tensor is made of, with nothing named in between."""
    found: dict[str, None] = {}
    stack, seen = list(makers[name].input), set[str]()
    while stack:
        each = stack.pop()
        if each in seen:
            continue
        seen.add(each)
        if each in names:
            found[each] = None
        elif each in makers:
            stack.extend(makers[each].input)
    return tuple(found)
