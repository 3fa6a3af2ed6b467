"""Likely causes of a difference, each tried: which change of the source or of the inputs gives the answers that were found."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import partial
from itertools import combinations
from typing import Any

import numpy as np

from hugectr2onnx.errors import HugeCTR2ONNXError
from hugectr2onnx.frontend.embeddings.interface import PADDED
from hugectr2onnx.frontend.loading import Loaded, load
from hugectr2onnx.frontend.resolved_options import ResolvedOptions
from hugectr2onnx.frontend.weights.snapshot import Weights, iterations_in, resolve
from hugectr2onnx.ir.evaluator import evaluate
from hugectr2onnx.ir.given_requests import Feeds
from hugectr2onnx.ir.types import Array
from hugectr2onnx.passes.lookups.row_number_inputs import row_number_inputs
from hugectr2onnx.tables.key_index import MAX_KEY
from hugectr2onnx.verification.recorded import excess

_MAX_TRIED_ROWS = 256
"""Samples on which a cause is tried."""
MAX_ITERATIONS = 8
MAX_SWAPS = 15
_MAX_LISTED = 6


@dataclass(frozen=True)
class ModelSource:
    """A HugeCTR model as it was given, with the graph that it gives."""

    graph: Any
    weights: Any
    resolved: ResolvedOptions
    loaded: Loaded


@dataclass(frozen=True)
class Cause:
    """A change that may explain what was found: `text` ends the sentence "the answers are those of ..."."""

    text: str
    answers: Callable[[Feeds], Mapping[str, Array]]


def find_causes(
    source: ModelSource, feeds: Feeds, found: Mapping[str, Array], rtol: float, atol: float
) -> tuple[list[str], int]:
    """(the causes that explain every answer, how many were tried) for answers that are not those of the source."""
    some, wanted = dict(feeds), dict(found)
    if _is_padded(source):
        some = {name: array[:_MAX_TRIED_ROWS] for name, array in feeds.items()}
        wanted = {name: array[: len(next(iter(some.values())))] for name, array in found.items()}
    texts, tried = [], 0
    for cause in _causes(source, feeds):
        try:
            answers = cause.answers(some)
        except (HugeCTR2ONNXError, OSError):
            continue
        tried += 1
        if all(_agrees(answers.get(name), array, rtol, atol) for name, array in wanted.items()):
            texts.append(cause.text)
    return texts, tried


def _agrees(answer: Array | None, wanted: Array, rtol: float, atol: float) -> bool:
    if answer is None or answer.size != wanted.size:
        return False
    _, beyond = excess(answer.reshape(wanted.shape), wanted.astype(np.float64), rtol, atol)
    return bool((beyond <= 0).all())


def _causes(source: ModelSource, feeds: Feeds) -> Iterator[Cause]:
    yield from _of_features(source, feeds)
    yield from _of_offsets(source)
    yield from _of_iterations(source)
    yield from _of_swapped_tables(source)


def _of_features(source: ModelSource, feeds: Feeds) -> Iterator[Cause]:
    dense = source.loaded.clauses.data.dense_top
    if dense not in feeds:
        return
    changes: dict[str, Callable[[Array], Array]] = {
        "log(1 + x) of the dense features, which are given without the logarithm": np.log1p,
        "exp(x) - 1 of the dense features, which are given as logarithms already": np.expm1,
    }
    for text, change in changes.items():
        yield _refed(source, text, dense, partial(_changed, change))


def _changed(change: Callable[[Array], Array], features: Array) -> Array:
    with np.errstate(all="ignore"):
        return np.asarray(change(features.astype(np.float64)), np.float32)


def _refed(source: ModelSource, text: str, name: str, change: Callable[[Array], Array]) -> Cause:
    """Return the source itself, with one input changed."""
    return Cause(text, lambda feeds: evaluate(source.loaded.graph, {**feeds, name: change(feeds[name])}))


def _of_offsets(source: ModelSource) -> Iterator[Cause]:
    if source.resolved.options.slot_size_array is not None:
        text = (
            "keys to which the offsets of their slots were added before: the model adds those of slot_size_array again"
        )
        yield _reloaded(source, text, options=source.resolved.changed(slot_size_array=None))
        return
    if not _is_padded(source):
        return
    for name, offsets in _offsets_of_tables(source.loaded).items():
        listed = ", ".join(map(str, offsets[:_MAX_LISTED])) + (", ..." if len(offsets) > _MAX_LISTED else "")
        text = f"keys of {name} with the offsets of their slots added ({listed}): give slot_size_array, or add them"
        yield _refed(source, text, name, partial(_moved, np.array(offsets, np.int64).reshape(1, -1, 1)))


def _is_padded(source: ModelSource) -> bool:
    """Tell whether the first axis of every input is that of the samples."""
    return source.resolved.options.interface == PADDED


def _moved(offsets: Array, keys: Array) -> Array:
    return np.where(keys < 0, keys, keys + offsets)


def _offsets_of_tables(loaded: Loaded) -> dict[str, list[int]]:
    """Return the smallest key of each slot by input, of tables that say the slot of a key, if slots' ranges are apart."""
    found: dict[str, list[int]] = {}
    slots = {sparse.top: sparse.slot_num for sparse in loaded.clauses.data.sparse}
    for clause in loaded.clauses.embeddings:
        table = loaded.sources.tables.get(clause.top)
        if table is None or table.slot_ids is None or not len(table.keys):
            continue
        lows = np.full(slots[clause.bottom], MAX_KEY, np.int64)
        np.minimum.at(lows, np.asarray(table.slot_ids), np.asarray(table.keys))
        if (np.diff(lows) >= 0).all() and lows[-1] < MAX_KEY:
            found[clause.bottom] = lows.tolist()
    return found


def _of_iterations(source: ModelSource) -> Iterator[Cause]:
    for number, weights in list(_iterations_beside(source.weights))[:MAX_ITERATIONS]:
        yield _reloaded(source, f"iteration {number}, which lies in the same folder", weights=weights)


def _iterations_beside(given: object) -> Iterator[tuple[int, Weights]]:
    """Yield the other whole iterations of the same prefix in the folder of the dense file, the latest first."""
    try:
        weights = resolve(given)
        folder, name = os.path.split(os.fspath(weights.dense or ""))
        found = iterations_in(folder or ".")
    except HugeCTR2ONNXError:
        return
    own = {(prefix, n) for prefix, numbers in found.items() for n in numbers if name == f"{prefix}_dense_{n}.model"}
    for prefix, iteration in own:
        for number in sorted(set(found[prefix]) - {iteration}, reverse=True):
            with suppress(HugeCTR2ONNXError):
                yield number, Weights.discover(folder or ".", prefix, number)


def _of_swapped_tables(source: ModelSource) -> Iterator[Cause]:
    try:
        weights = resolve(source.weights)
    except HugeCTR2ONNXError:
        return
    pairs = list(combinations(range(len(weights.tables)), 2))[:MAX_SWAPS]
    for first, second in pairs:
        tables = list(weights.tables)
        tables[first], tables[second] = tables[second], tables[first]
        names = f"{weights.tables[first].name} and {weights.tables[second].name}"
        yield _reloaded(
            source, f"swapped tables: {names} in one another's place", weights=replace(weights, sparse=tables)
        )


def _reloaded(
    source: ModelSource, text: str, *, weights: Weights | None = None, options: ResolvedOptions | None = None
) -> Cause:
    def answers(feeds: Feeds) -> Mapping[str, Array]:
        given = weights if weights is not None else source.weights
        graph = load(source.graph, given, options or source.resolved).graph
        row_number_inputs(graph, source.resolved.options.keys)
        return evaluate(graph, feeds)

    return Cause(text, answers)
