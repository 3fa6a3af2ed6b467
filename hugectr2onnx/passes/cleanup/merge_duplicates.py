"""Merge operations that compute the same, and small constants that hold the same (common-subexpression elimination)."""

from __future__ import annotations

from hugectr2onnx.ir.graph import Graph, Node, Value
from hugectr2onnx.ir.ops.structural import Const, Input, Outputs
from hugectr2onnx.passes.rewriter import Fires

MAX_COMPARED_BYTES = 4096
"""Bytes up to which constants are compared by content."""


def merge_duplicates(graph: Graph) -> Fires:
    """%a = relu(%x); %b = relu(%x); add(%a, %b)  ->  %a = relu(%x); add(%a, %a)"""
    first: dict[object, Node] = {}
    merged = 0
    for node in list(graph):
        if isinstance(node.op, Input | Outputs):
            continue
        twin = first.setdefault(_key(node), node)
        if twin is node:
            continue
        twin.sources = tuple(dict.fromkeys((*twin.sources, *node.sources)))
        for old, new in zip(node.results, twin.results, strict=True):
            graph.replace(old, new)
        graph.erase(node)
        merged += 1
    return +Fires({"merge_duplicates": merged})


def _key(node: Node) -> object:
    if isinstance(node.op, Const):
        array = node.op.array
        return (array.dtype, array.shape, array.tobytes()) if array.nbytes <= MAX_COMPARED_BYTES else node
    operands = node.inputs
    if node.op.commutative:
        operands = tuple(sorted(operands, key=_identity))
    return node.op, operands


def _identity(value: Value) -> tuple[int, int]:
    return id(value.node), value.index
