"""Hidden units that feeds wake up: weights behind a unit that is always zero are not exercised by any comparison."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from hugectr2onnx.ir.evaluator import Adjust
from hugectr2onnx.ir.graph import Graph, Value
from hugectr2onnx.ir.ops.elementwise import Relu
from hugectr2onnx.ir.types import Array

Active = Mapping[str, Array]
"""Booleans by layer, one for each unit: whether it was not zero for some sample."""


@dataclass(frozen=True)
class HiddenUnits:
    """The number of rectified units of a layer, and of those that were ever other than zero."""

    layer: str
    units: int
    active: int


def rectified(graph: Graph) -> dict[Value, str]:
    """Return the results of the ReLUs of a graph, each with the name of its layer; of several in one layer each has a number.

    A result whose last axis differs from batch to batch has samples there, not units, and is left out.
    """
    nodes = [node for node in graph if isinstance(node.op, Relu) and _has_units(node.results[0].type.shape)]
    names: dict[Value, str] = {}
    for node in nodes:
        layer = node.name or ", ".join(node.sources) or "relu"
        number = sum(name == layer or name.startswith(f"{layer} (") for name in names.values())
        names[node.results[0]] = f"{layer} ({number + 1})" if number else layer
    return names


def _has_units(shape: Sequence[object]) -> bool:
    return bool(shape) and type(shape[-1]) is int


def watch(names: Mapping[Value, str], active: dict[str, Array]) -> Adjust:
    """Note in `active` which units are not zero, while a graph is evaluated; the numbers stay as they are."""

    def note(value: Value, array: Array) -> Array:
        if value in names:
            own = (array != 0).reshape(-1, array.shape[-1]).any(axis=0)
            active[names[value]] = own | active.get(names[value], False)
        return array

    return note


def joined(parts: Iterable[Active]) -> dict[str, Array]:
    """Tell what several feeds wake up together."""
    together: dict[str, Array] = {}
    for part in parts:
        for layer, active in part.items():
            together[layer] = active | together.get(layer, np.False_)
    return together


def count(active: Active) -> tuple[HiddenUnits, ...]:
    """Return the units of each layer, in order."""
    return tuple(HiddenUnits(layer, len(units), int(units.sum())) for layer, units in active.items())
