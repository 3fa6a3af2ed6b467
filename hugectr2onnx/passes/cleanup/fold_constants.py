"""Compute at compile time what depends on constants only."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from hugectr2onnx.ir.graph import Graph, Node, Value
from hugectr2onnx.ir.op import Op
from hugectr2onnx.ir.ops.structural import Const, Input, Outputs
from hugectr2onnx.ir.types import Array
from hugectr2onnx.passes.rewriter import Fires

MAX_FOLDED_ELEMENTS = 1 << 24
"""Largest result in elements: a larger one would cost more space in the model than it saves time."""


def fold_constants(graph: Graph) -> Fires:
    """%t = transpose(%w)  ->  %t as a constant: operations that only move data, so that nothing is rounded"""
    return +Fires({"fold_constants": _fold(graph, lambda op: op.exact)})


def fold_arithmetic(graph: Graph) -> Fires:
    """%c = mul(%a, %b)  ->  %c as a constant, computed in float64 and rounded once"""
    return +Fires({"fold_arithmetic": _fold(graph, lambda op: True)})


def _fold(graph: Graph, wanted: Callable[[Op], bool]) -> int:
    return sum(_replace_by_constants(graph, node) for node in graph if wanted(node.op) and _is_foldable(node))


def _is_foldable(node: Node) -> bool:
    if isinstance(node.op, Const | Input | Outputs) or not node.inputs:
        return False
    if not all(isinstance(operand.op, Const) for operand in node.inputs):
        return False
    sizes = [type.elements for type in node.types]
    return all(isinstance(size, int) and size <= MAX_FOLDED_ELEMENTS for size in sizes)


def _replace_by_constants(graph: Graph, node: Node) -> int:
    """1, or 0 where a result that is finite in float64 would not be in float32."""
    with np.errstate(all="ignore"):
        computed = node.op.evaluate(*(_precise(operand) for operand in node.inputs))
        wide = computed if isinstance(computed, tuple) else (computed,)
        arrays = [
            np.asarray(array, old.type.dtype.numpy, order="C") for old, array in zip(node.results, wide, strict=True)
        ]
    if any(not np.array_equal(np.isfinite(a), np.isfinite(b)) for a, b in zip(arrays, wide, strict=True)):
        return 0
    for old, array in zip(node.results, arrays, strict=True):
        new = graph.const(array, old.node.name)
        new.node.sources = node.sources
        graph.replace(old, new)
    graph.erase_dead(node)
    return 1


def _precise(value: Value) -> Array:
    array = value.const
    assert array is not None
    return array.astype(np.float64) if array.dtype == np.float32 else array
