"""Find the weight behind constants that hold several layers' weights: change each in the source and compile again.

A weight can be at fault if changing it changes the constants that differ, no others, and every element that differs. Where a
constant has an element for each of the weight's, the change itself is worked out, and believed if compiling with it gives what
the file holds. Weights that are folded into one number, such as a bias and the beta of a BatchNorm behind it, cannot be told
apart by any file: all of them are named.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from hugectr2onnx import passes
from hugectr2onnx.backend.onnx import emitter
from hugectr2onnx.comparison.constants import ConstantDifference
from hugectr2onnx.comparison.tensors import Outline
from hugectr2onnx.errors import HugeCTR2ONNXError
from hugectr2onnx.ir.graph import Graph, Node
from hugectr2onnx.ir.ops.lookup import Lookup
from hugectr2onnx.ir.ops.structural import Const
from hugectr2onnx.ir.types import Array
from hugectr2onnx.options import Options
from hugectr2onnx.passes.lookups.choose_key_map import choose_key_map
from hugectr2onnx.passes.lookups.flatten_keys import flatten_keys
from hugectr2onnx.verification.causes import ModelSource
from hugectr2onnx.verification.explanation import RELATIVE
from hugectr2onnx.verification.stored_table import tensor_of

MAX_WEIGHTS = 32
"""Weights that are tried; each takes a run of the passes."""
_NEWTON_STEPS = 5
SCALE = 1e-2
CLOSE = 1e-5
MAX_NAMED = 4
MAX_CHANGE = 1e3
PLACES = 5


@dataclass(frozen=True, eq=False)
class Suspect:
    """A weight that can be at fault; `change` is by how much, where it could be worked out."""

    node: Node
    layer: str
    touched: int
    change: Array | None = None
    exact: bool = True
    """Whether a change of it changes no other constants than those that differ."""

    @property
    def place(self) -> str:
        """Where it differs most."""
        if self.change is None:
            return self.node.name
        at = np.unravel_index(int(np.abs(self.change).argmax()), self.change.shape)
        return f"{self.node.name}[{', '.join(str(int(each)) for each in at)}]"

    @property
    def amount(self) -> str:
        """By how much."""
        if self.change is None:
            return ""
        flat = self.change.reshape(-1)
        count = self.elements
        others = f", and {count - 1} other elements" if count > 1 else ""
        return f" by {flat[np.abs(flat).argmax()]:.3g}{others}"

    @property
    def elements(self) -> int:
        if self.change is None:
            return 0
        return int(np.count_nonzero(np.abs(self.change) > RELATIVE * np.abs(self.change).max()))


def behind(
    source: ModelSource, differences: Sequence[ConstantDifference], outline: Outline, stretch: Sequence[str]
) -> Iterator[tuple[str, str]]:
    """(layer, sentence) where a weight, or one of several, explains the constants that differ; nothing where none does.

    `stretch` are the layers whose weights may be behind them, beside those that the file names.
    """
    own = {node.name for node in source.loaded.graph if isinstance(node.op, Const)}
    folded = [each for each in differences if each.expected.size and (len(each.layers) > 1 or each.name not in own)]
    if not folded:
        return
    try:
        suspects = list(_suspects(source, {each.name: each for each in differences if each.expected.size}, stretch))
    except HugeCTR2ONNXError:
        return
    known = {tensor.layer for tensor in outline.tensors}
    suspects = [each for each in suspects if each.layer in known]
    solved = [each for each in suspects if each.change is not None]
    if solved:
        # Of changes that no file tells apart, a round one is the likeliest.
        suspects = sorted(solved, key=lambda each: (each.elements, len(each.amount)))
    elif suspects:
        best = min((not each.exact, each.touched) for each in suspects)
        suspects = [each for each in suspects if (not each.exact, each.touched) == best]
    if suspects:
        yield suspects[0].layer, _sentence(suspects, folded)


def _sentence(suspects: Sequence[Suspect], folded: Sequence[ConstantDifference]) -> str:
    held = ", ".join(each.name for each in folded)
    if len(suspects) == 1:
        return f"the weight {suspects[0].place} differs{suspects[0].amount}: it is folded into {held}"
    named = ", or ".join(f"{each.place}{each.amount}" for each in suspects[:MAX_NAMED])
    more = ", ..." if len(suspects) > MAX_NAMED else ""
    return f"one of these differs, which are folded into {held}: {named}{more}"


def _suspects(
    source: ModelSource, found: Mapping[str, ConstantDifference], stretch: Sequence[str]
) -> Iterator[Suspect]:
    graph, options = source.loaded.graph, source.resolved.options
    layers = {*stretch, *(layer for each in found.values() for layer in each.layers)}
    base = _constants(graph, options, {})
    if not found.keys() <= base.keys():
        return  # onnxsim gave the constants other names
    generator = np.random.default_rng(0)
    for node in _weights(graph, layers)[:MAX_WEIGHTS]:
        array = np.asarray(node.op.array, np.float64)  # type: ignore[attr-defined]
        step = SCALE * max(float(np.abs(array).max(initial=0.0)), 1e-3) * generator.uniform(0.5, 1, array.shape)
        changed = _constants(graph, options, {node: array + step})
        touched = {name: _moved(base[name], changed[name]) for name in base if name in changed}
        names = {name for name, mask in touched.items() if mask.any()}
        if not found.keys() <= names or changed.keys() != base.keys():
            continue
        if all((_wrong(each) <= touched[name].reshape(each.expected.shape)).all() for name, each in found.items()):
            count = sum(int(mask.sum()) for mask in touched.values())
            layer = next((each for each in node.sources if each in layers), node.name.rpartition(".")[0])
            name = _in_step(graph, options, node, step, base, found)
            change = _solved(graph, options, node, step, base, found, name) if name is not None else None
            if name is None or change is not None:
                yield Suspect(node, layer, count, change, names == found.keys())


def _weights(graph: Graph, layers: set[str]) -> list[Node]:
    """Return the dense weights of some layers, the smallest first: those are folded into others."""
    tables = {value.node for node in graph if isinstance(node.op, Lookup) for value in node.inputs[1:]}
    own = [
        node
        for node in graph
        if isinstance(node.op, Const)
        and node not in tables
        and node.op.array.dtype.kind == "f"
        and "." in node.name
        and not {*node.sources, node.name.rpartition(".")[0]}.isdisjoint(layers)
    ]
    return sorted(own, key=lambda node: node.op.array.size)  # type: ignore[attr-defined]


def _constants(graph: Graph, options: Options, changes: Mapping[Node, Array]) -> dict[str, Array]:
    """Return the float constants of the model that a graph with other weights is compiled to, by name."""
    copy = graph.clone()
    copies = dict(zip(graph, copy, strict=True))
    for node, array in changes.items():
        own = copies[node]
        replacement = copy.const(array.astype(np.float32), node.name)
        copy.replace(own.results[0], replacement)
        replacement.node.sources = own.sources
    passes.run(copy, options.opt_level)
    choose_key_map(copy, options.keys, automatic=options.opt_level > passes.EXACT_LEVEL)
    flatten_keys(copy)
    artifact = emitter.emit(copy, graph_name="again", opset=options.opset, version="", metadata={})
    large = artifact.tensors.keys()
    kept = [each.name for each in artifact.skeleton.graph.initializer if each.data_type in (1, 10)]
    tables = {node.input[0] for node in artifact.skeleton.graph.node if node.op_type == "Gather"}
    return {
        name: tensor_of(artifact, name).astype(np.float64) for name in kept if name not in tables or name not in large
    }


def _moved(before: Array, after: Array) -> Array:
    if before.shape != after.shape:
        return np.zeros(before.shape, bool)
    moved: Array = np.abs(after - before) > 1e-7 * np.abs(before).max(initial=1e-30)
    return moved


def _wrong(difference: ConstantDifference) -> Array:
    a, b = difference.expected, difference.found
    wrong: Array = np.abs(a - b) > RELATIVE * np.abs(a).max(initial=0.0)
    return wrong


def _in_step(
    graph: Graph,
    options: Options,
    node: Node,
    step: Array,
    base: Mapping[str, Array],
    found: Mapping[str, ConstantDifference],
) -> str | None:
    """Return the constant that has an element for each of the weight's: changing some elements changes those alone."""
    array = np.asarray(node.op.array, np.float64)  # type: ignore[attr-defined]
    names = [name for name, each in found.items() if each.expected.size == array.size]
    if not names or not array.size:
        return None
    # Gates of a GRU stand in another order there: places all over the weight have to be where they are here.
    some = np.isin(np.arange(array.size), np.linspace(0, array.size - 1, PLACES).astype(int))
    changed = _constants(graph, options, {node: array + (some * step.reshape(-1)).reshape(array.shape)})
    return next((name for name in names if np.array_equal(_moved(base[name], changed[name]).reshape(-1), some)), None)


def _solved(
    graph: Graph,
    options: Options,
    node: Node,
    step: Array,
    base: Mapping[str, Array],
    found: Mapping[str, ConstantDifference],
    name: str,
) -> Array | None:
    """Return the change of a weight that gives what was found, by Newton's method element by element; or None."""
    array = np.asarray(node.op.array, np.float64)  # type: ignore[attr-defined]
    wanted, at, change = found[name].found.reshape(array.shape), base[name].reshape(array.shape), np.zeros(array.shape)
    whole = {**base, **{each: difference.found for each, difference in found.items()}}
    for _ in range(_NEWTON_STEPS):
        after = _constants(graph, options, {node: array + change + step})[name].reshape(array.shape)
        away = np.abs(wanted - at) > RELATIVE * np.abs(wanted).max(initial=0.0)
        with np.errstate(all="ignore"):
            change = np.where(away, change + (wanted - at) * step / (after - at), change)
        if not np.isfinite(change).all() or np.abs(change).max() > MAX_CHANGE * max(1.0, float(np.abs(array).max())):
            return None
        now = _constants(graph, options, {node: array + change})
        if all(_close(now[other], held) for other, held in whole.items()):
            return change
        at = now[name].reshape(array.shape)
    return None


def _close(a: Array, b: Array) -> bool:
    return a.size == b.size and bool((np.abs(a.reshape(b.shape) - b) <= CLOSE * np.abs(b).max(initial=1e-30)).all())
