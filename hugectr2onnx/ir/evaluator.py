"""The reference interpreter: what a graph computes, in float64 or in float32, by the ops' own `evaluate`."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType
from typing import Any

import numpy as np

from hugectr2onnx.errors import CompilerError
from hugectr2onnx.ir.graph import Graph, Node, Value
from hugectr2onnx.ir.ops.lookup import Lookup
from hugectr2onnx.ir.ops.structural import Const, Input, Outputs
from hugectr2onnx.ir.types import Array

Adjust = Callable[[Value, Array], Array]
"""Puts another array in the place of a float result, such as a rounded one; it must not change the array it gets."""


def evaluate(
    graph: Graph, feeds: Mapping[str, Array], *, precision: type[np.floating[Any]] = np.float64
) -> dict[str, Array]:
    """Return the outputs by name for feeds by input name."""
    names = graph.outputs
    return dict(zip(names, evaluate_values(graph, list(names.values()), feeds, precision=precision), strict=True))


def evaluate_values(
    graph: Graph,
    values: Sequence[Value],
    feeds: Mapping[str, Array],
    *,
    precision: type[np.floating[Any]] = np.float64,
    adjust: Adjust | None = None,
    given: Mapping[Value, Array] = MappingProxyType({}),
) -> list[Array]:
    """Any values of the graph. Tables are read row by row and never converted as a whole.

    `adjust` is asked for every float result but those of tables. `given` are results that are known already: the node that
    makes them is not evaluated, and they are all of its results.
    """
    results: dict[Value, Array] = {}
    kept, left = set(values), Counter(operand for node in graph for operand in node.inputs)
    with np.errstate(all="ignore"):
        for node in graph:
            own = [_precise(given[value], precision) for value in node.results if value in given]
            for value, array in zip(node.results, own or _results(node, results, feeds, precision), strict=True):
                adjusted = adjust and array.dtype.kind == "f" and not _is_table(value)
                results[value] = adjust(value, array) if adjust and adjusted else array
            # What nothing reads any more goes: a model of many wide layers would not fit otherwise.
            left.subtract(node.inputs)
            for value in {*node.inputs, *node.results} - kept:
                if left[value] == 0:
                    results.pop(value, None)
    return [results[value] for value in values]


def _results(
    node: Node, known: Mapping[Value, Array], feeds: Mapping[str, Array], precision: type[np.floating[Any]]
) -> Sequence[Array]:
    if isinstance(node.op, Outputs):
        return ()
    if isinstance(node.op, Input):
        if node.name not in feeds:
            raise CompilerError(f"input {node.name} was not fed")
        return (_precise(np.asarray(feeds[node.name]), precision),)
    if isinstance(node.op, Const):
        return (node.op.array if _is_table(node.results[0]) else _precise(node.op.array, precision),)
    computed = node.op.evaluate(*(known[operand] for operand in node.inputs))
    arrays = computed if isinstance(computed, tuple) else (computed,)
    return tuple(_precise(array, precision) for array in arrays)


def _is_table(value: Value) -> bool:
    return isinstance(value.op, Const) and any(isinstance(use.node.op, Lookup) for use in value.uses)


def _precise(array: Array, precision: type[np.floating[Any]]) -> Array:
    return array.astype(precision, copy=False) if array.dtype.kind == "f" else array
