"""The invariants of the IR. Checking them costs microseconds an operation, so every pass is followed by it."""

from __future__ import annotations

from collections import Counter

from hugectr2onnx.errors import ShapeError, VerificationError
from hugectr2onnx.ir.graph import Graph, Node
from hugectr2onnx.ir.ops.structural import Const, Input, Outputs
from hugectr2onnx.ir.types import TensorType


def verify(graph: Graph) -> None:
    """Raise VerificationError unless the graph is sound.

    Sound: acyclic; edges, operands and uses say the same; types inferred again equal those stored; one output sink;
    names of inputs and of outputs unique; operands belong to the graph.
    """
    _verify_edges(graph)
    if cycle := graph.find_cycle():
        raise VerificationError(f"a cycle: {' -> '.join(map(repr, cycle))}")
    _verify_interface(graph)
    for node in graph:
        _verify_types(node)


def _verify_interface(graph: Graph) -> None:
    sinks = [node for node in graph if isinstance(node.op, Outputs)]
    if sinks != [graph.sink]:
        raise VerificationError(f"{len(sinks)} output sinks where one is needed")
    declared = [value.node for value in graph.inputs]
    if {node for node in graph if isinstance(node.op, Input)} != set(declared):
        raise VerificationError("the input nodes are not those of the interface")
    for kind, names in (("input", [node.name for node in declared]), ("output", list(_output_names(graph.sink)))):
        twice = [name for name, count in Counter(names).items() if count > 1 or not name]
        if twice:
            raise VerificationError(f"{kind} names must be there and be unique: {twice}")


def _output_names(sink: Node) -> tuple[str, ...]:
    assert isinstance(sink.op, Outputs)
    return sink.op.names


def _verify_edges(graph: Graph) -> None:
    edges = set(graph.edges())
    if edges != {
        (operand.node, node, slot, operand.index) for node in graph for slot, operand in enumerate(node.inputs)
    }:
        raise VerificationError("the edges of the graph disagree with the operands of its nodes")
    if edges != {(node, u.node, u.slot, index) for node in graph for index, uses in enumerate(node.uses) for u in uses}:
        raise VerificationError("the edges of the graph disagree with the uses of its values")
    for node, user, _, index in edges:
        if node.graph is not graph or index >= len(node.types):
            raise VerificationError(f"{user} uses result {index} of {node}, which is not of this graph")


def _verify_types(node: Node) -> None:
    try:
        inferred = node.op.infer(*(operand.type for operand in node.inputs))
    except ShapeError as error:
        raise VerificationError(f"{node} does not fit its operands: {error}") from error
    types = (inferred,) if isinstance(inferred, TensorType) else inferred
    if types != node.types:
        kind = "constant" if isinstance(node.op, Const) else "operation"
        raise VerificationError(f"the {kind} {node} says {_spell(node.types)} but is {_spell(types)}")


def _spell(types: tuple[TensorType, ...]) -> str:
    return ", ".join(map(str, types))
