"""Try each likely cause of a departing tensor: the one that gives what was found is named, with the layer at fault."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from hugectr2onnx.comparison import residuals
from hugectr2onnx.comparison.constants import ConstantDifference, of_foreign_file
from hugectr2onnx.comparison.folded_weights import behind
from hugectr2onnx.comparison.fused_constants import refined
from hugectr2onnx.comparison.hypotheses import hypotheses
from hugectr2onnx.comparison.sides import FileSide, Recording, Side
from hugectr2onnx.comparison.tensors import Outline, values_of
from hugectr2onnx.errors import HugeCTR2ONNXError
from hugectr2onnx.frontend.loading import load
from hugectr2onnx.ir.evaluator import evaluate_values
from hugectr2onnx.ir.expectation import Expectation
from hugectr2onnx.ir.graph import Value
from hugectr2onnx.ir.types import Array
from hugectr2onnx.verification.causes import ModelSource, find_causes
from hugectr2onnx.verification.mixed_precision import HALF_MARGIN, evaluate_in_half
from hugectr2onnx.verification.verify_file import stored_options

MEANINGS = ("slot_size_array", "n_gpus", "default_embedding", "layer_attrs", "padding_key", "embedding", "keep_keys")
"""The options that change what a model computes."""
TOLERANCES = (1e-5, 1e-4)
DISTINCT = 4
"""A cause is believed where the source itself is so many tolerances away."""


@dataclass(frozen=True, eq=False)
class Departure:
    """The tensor that departs first, on one batch: `target` of the source's graph, and the layers that may be at fault."""

    source: ModelSource
    outline: Outline
    tensor: str
    target: Value
    layers: tuple[str, ...]
    expected: Expectation
    found: Mapping[str, Array]
    """What the other side gives, by the names of the source, in the shapes of the reference."""
    tolerances: Mapping[str, Array]
    other: Side
    differences: Sequence[ConstantDifference]

    @property
    def feeds(self) -> Mapping[str, Array]:
        return self.expected.feeds

    def explained_by(self, answer: Array) -> bool:
        """Tell whether an answer is what was found."""
        found, tolerance = self.found[self.tensor], self.tolerances[self.tensor]
        if answer.shape != found.shape:
            return False
        with np.errstate(all="ignore"):
            error = np.abs(answer - found)
            allowed = np.maximum(tolerance, 1e-6 + 1e-5 * np.abs(answer))
        return bool(((error <= allowed) | (np.isnan(answer) & np.isnan(found))).all())


@dataclass(frozen=True)
class Explanation:
    """The layer at fault and why; `cause` is None where nothing that was tried explains it."""

    layer: str
    cause: str | None


def explain(departure: Departure) -> Explanation:
    """Return the first cause that explains what was found."""
    last = departure.layers[-1]
    for layer, text in _causes(departure):
        return Explanation(layer or last, text)
    return Explanation(last, None)


def _causes(departure: Departure) -> Iterator[tuple[str, str]]:
    yield from _of_the_whole_model(departure)
    yield from _of_options(departure)
    yield from _of_hypotheses(departure)
    own = [each for each in departure.differences if not {*each.layers}.isdisjoint(departure.layers)]
    if own and isinstance(departure.other, FileSide):
        yield from behind(departure.source, departure.differences, departure.outline, departure.layers)
    yield from refined(own, departure.outline)
    yield from _of_foreign_constants(departure)
    name = departure.tensor
    reference, found = departure.expected.reference[name], departure.found[name]
    yield from residuals.explain(
        departure.source.loaded.graph,
        departure.layers,
        departure.target,
        departure.feeds,
        reference,
        found,
        departure.tolerances[name],
    )
    yield from _of_half_precision(departure)


def _of_the_whole_model(departure: Departure) -> Iterator[tuple[str, str]]:
    """Another iteration, swapped tables, offsets, the logarithm of the features."""
    source, found = _with_target(departure)
    reference = dict(zip(found, _evaluated(source, found, departure.feeds), strict=True))
    for tolerance in TOLERANCES:
        distance = max((_distance(reference[name], array) for name, array in found.items()), default=0.0)
        if distance <= DISTINCT * tolerance:
            return
        texts, _ = find_causes(source, departure.feeds, found, tolerance, tolerance)
        if texts:
            yield "", f"it gives what would come of {texts[0]}"
            return


def _with_target(departure: Departure) -> tuple[ModelSource, dict[str, Array]]:
    """Return the source with the tensor among its outputs, and what was found of these."""
    source, name = departure.source, departure.tensor
    usual = [output for output in source.loaded.graph.outputs if output in departure.found]
    try:
        resolved = source.resolved.changed(outputs=tuple(dict.fromkeys([name, *usual])))
        source = replace(source, resolved=resolved, loaded=load(source.graph, source.weights, resolved))
    except HugeCTR2ONNXError:
        # A tensor that has not one row a sample cannot be an output.
        return source, {output: departure.found[output] for output in usual}
    return source, {each: departure.found[each] for each in source.loaded.graph.outputs}


def _evaluated(source: ModelSource, names: Mapping[str, Array], feeds: Mapping[str, Array]) -> list[Array]:
    graph = source.loaded.graph
    return evaluate_values(graph, [graph.outputs[name] for name in names], feeds)


def _distance(a: Array, b: Array) -> float:
    with np.errstate(all="ignore"):
        return float(np.nan_to_num(np.abs(a - b), nan=np.inf).max(initial=0.0))


def _of_options(departure: Departure) -> Iterator[tuple[str, str]]:
    """Yield the file was compiled with other options than those that the source is read with."""
    if not isinstance(departure.other, FileSide):
        return
    if not departure.other.is_ours:
        return
    stored, given = stored_options(departure.other.file.model), departure.source.resolved.options
    for name in MEANINGS:
        theirs, ours = getattr(stored, name), getattr(given, name)
        if theirs == ours:
            continue
        answer = _with_option(departure, name, theirs)
        if answer is not None and departure.explained_by(answer):
            yield "", f"the file was compiled with {name}={_short(theirs)}, the source is read with {_short(ours)}"


def _with_option(departure: Departure, name: str, value: Any) -> Array | None:
    source = departure.source
    try:
        loaded = load(source.graph, source.weights, source.resolved.changed(**{name: value}))
        return evaluate_values(loaded.graph, [values_of(loaded)[departure.tensor]], departure.feeds)[0]
    except (HugeCTR2ONNXError, KeyError):
        return None


def _short(value: object) -> str:
    text = str(list(value)) if isinstance(value, tuple) else str(value)
    return text if len(text) <= 60 else text[:57] + "..."


def _of_hypotheses(departure: Departure) -> Iterator[tuple[str, str]]:
    graph = departure.source.loaded.graph
    for each in hypotheses(graph, departure.layers, departure.feeds):
        if departure.explained_by(each.answer(departure.target, departure.feeds)):
            yield each.layer, each.text


def _of_foreign_constants(departure: Departure) -> Iterator[tuple[str, str]]:
    if not isinstance(departure.other, FileSide):
        return
    graph = departure.other.artifact.skeleton.graph
    makers = {name: node for node in graph.node for name in node.output}
    stop = {name for name in departure.found if name != departure.tensor}
    between, stack = set[str](), [departure.tensor]
    while stack:
        node = makers.get(stack.pop())
        for name in node.input if node is not None else ():
            if name not in between and name not in stop:
                between.add(name)
                stack.append(name)
    for each in of_foreign_file(departure.source.loaded.graph, departure.layers, departure.other.artifact, between):
        yield next((layer for layer in each.layers if layer in departure.layers), ""), each.text


def _of_half_precision(departure: Departure) -> Iterator[tuple[str, str]]:
    """Tell whether halves wherever HugeCTR stores one explain every tensor that departs."""
    if not isinstance(departure.other, Recording | FileSide):
        return
    loaded = departure.source.loaded
    values = {name: value for name, value in values_of(loaded).items() if name in departure.found}
    layers = [top for layer in loaded.layers for top in layer.tops] + [each.top for each in loaded.clauses.embeddings]
    halves, worst = evaluate_in_half(loaded.graph, layers, departure.feeds, values), 0.0
    for name, half in halves.items():
        reference, found = departure.expected.reference[name], departure.found[name]
        noise = float(np.abs(half - reference).max(initial=0.0))
        with np.errstate(all="ignore"):
            error = np.abs(found - reference)
        if not (error <= departure.tolerances[name] + HALF_MARGIN * noise).all():
            return
        worst = max(worst, noise)
    yield (
        "",
        f"half precision: rounding to half in every layer changes the reference by up to {worst:.3g}, which explains all",
    )
