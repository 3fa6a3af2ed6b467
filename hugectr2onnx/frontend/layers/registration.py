"""Layers from outside the package: registered by hand, or by an installed package that offers an entry point.

A layer of one's own has no golden vectors, so registering it takes a second, independent statement of what it computes: a
numpy function, with which its expansion is compared on random inputs.
"""

from __future__ import annotations

from collections.abc import Callable, KeysView, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from importlib import metadata
from typing import Any

import numpy as np

from hugectr2onnx.errors import CompilerError
from hugectr2onnx.frontend.graph_json.fields import Fields
from hugectr2onnx.frontend.layers.layer import REGISTRY, Layer
from hugectr2onnx.ir.evaluator import evaluate
from hugectr2onnx.ir.graph import Graph
from hugectr2onnx.ir.types import Array, N, f32
from hugectr2onnx.options import Options

ENTRY_POINTS = "hugectr2onnx.layers"
_TRIED_BATCH = 5
_RTOL = ATOL = 1e-9
Reference = Callable[..., Array | Sequence[Array]]
"""(layer, *bottoms, *weights), float64 arrays with the batch first -> the top, or one array for each top."""


@dataclass(frozen=True)
class Example:
    """A use of a layer on which its expansion is compared with its reference.

    `bottoms` are the shapes of one sample of each bottom; `json` are the layer's other fields in the graph JSON.
    """

    bottoms: Sequence[tuple[int, ...]]
    json: Mapping[str, object] = field(default_factory=dict)


def register_layer(name: str, layer: type[Layer], *, reference: Reference, examples: Sequence[Example]) -> None:
    """Make a layer of one's own known under the type `name` of the graph JSON.

    `layer` is a subclass of `Layer` without `types`. Raises CompilerError where the name is taken, where there are no examples,
    or where the expansion and the reference differ on one.
    """
    if name in REGISTRY:
        raise CompilerError(f"the layer type {name} is registered already, as {REGISTRY[name].__name__}")
    if not examples:
        raise CompilerError(f"{name}: give at least one example on which expansion and reference are compared")
    for number, example in enumerate(examples):
        _compare(name, layer, reference, example, np.random.default_rng(number))
    REGISTRY[name] = layer


def _compare(
    name: str, layer: type[Layer], reference: Reference, example: Example, random: np.random.Generator
) -> None:
    """Raise CompilerError unless expansion and reference agree, in float64, on random bottoms and weights."""
    bottoms = [f"in{index}" for index in range(len(example.bottoms))]
    fields = Fields({"bottom": bottoms, "top": ["out"], **example.json}, f"an example of {name}")
    parsed = layer.parse(fields, {})
    graph = Graph(name)
    inputs = [graph.input(bottom, f32(N, *shape)) for bottom, shape in zip(bottoms, example.bottoms, strict=True)]
    weights = {each.name: each for each in parsed.weights(*(value.type for value in inputs))}
    arrays = {
        each.name: _positive(random.normal(0, 1, each.shape), each.name) for each in weights.values() if each.used
    }
    built = parsed.build(*inputs, *(graph.const(array.astype(np.float32), key) for key, array in arrays.items()))
    results = built if isinstance(built, tuple) else (built,)
    graph.output({f"out{index}": value for index, value in enumerate(results)})
    feeds = {
        key: random.normal(0, 1, (_TRIED_BATCH, *shape)) for key, shape in zip(bottoms, example.bottoms, strict=True)
    }
    feeds = {key: feed.astype(np.float32).astype(np.float64) for key, feed in feeds.items()}
    found = evaluate(graph, feeds)
    rounded = [array.astype(np.float32).astype(np.float64) for array in arrays.values()]
    expected: Any = reference(parsed, *feeds.values(), *rounded)
    if isinstance(expected, np.ndarray):
        expected = [expected]
    if len(expected) != len(found):
        raise CompilerError(f"{name}: its expansion gives {len(found)} tops, its reference {len(expected)}")
    for top, wanted in zip(found, expected, strict=True):
        _require_equal(name, top, found[top], np.asarray(wanted))


def _positive(array: Array, name: str) -> Array:
    """Variances and the like must not be negative."""
    return np.abs(array) + 0.5 if name in ("var", "gamma") else array


def _require_equal(name: str, top: str, found: Array, wanted: Array) -> None:
    if found.shape != wanted.shape:
        raise CompilerError(
            f"{name}: {top} has the shape {list(found.shape)} by its expansion, {list(wanted.shape)} by its reference"
        )
    wrong = ~np.isclose(found, wanted, rtol=_RTOL, atol=ATOL, equal_nan=True)
    if wrong.any():
        place = tuple(int(index) for index in np.argwhere(wrong)[0])
        raise CompilerError(
            f"{name}: {top} differs in {int(wrong.sum())} of {wrong.size} numbers; at {list(place)} the expansion gives "
            f"{found[place]:.9g}, the reference {wanted[place]:.9g}"
        )


@cache
def load_plugins() -> tuple[str, ...]:
    """Load the entry points of the group `hugectr2onnx.layers`, once, and return their names.

    An entry point is a function without arguments that calls `register_layer`. Raises CompilerError where one fails.
    """
    loaded = []
    for point in metadata.entry_points(group=ENTRY_POINTS):
        try:
            point.load()()
        except CompilerError as error:
            error.add_note(f"while loading the layers of {point.name} ({point.value})")
            raise
        except Exception as error:
            raise CompilerError(f"the layers of {point.name} ({point.value}) cannot be loaded: {error}") from error
        loaded.append(point.name)
    return tuple(loaded)


def layer_types(options: Options) -> KeysView[str]:
    """Return the known layer types; with `load_plugins` those of installed packages among them."""
    if options.load_plugins:
        load_plugins()
    return REGISTRY.keys()
