"""Recovering what graph_to_json loses from the size of the dense file (layers 2.3).

`projection_dim` of MultiCross follows from the floats that the other layers leave over. The `shape` of a Reshape is
found by trial: an import with each candidate of every rank must use the file up exactly and give one row for each sample.
Where several do, they must all compute the same; otherwise the user is asked.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from itertools import islice

import numpy as np

from hugectr2onnx.errors import MissingInformationError, Setting
from hugectr2onnx.frontend.equivalence import compute_the_same
from hugectr2onnx.frontend.graph_json.clauses import GraphClauses, LayerClause
from hugectr2onnx.frontend.importer import Importer, LayerSummary, Sources
from hugectr2onnx.frontend.resolved_options import ResolvedOptions
from hugectr2onnx.frontend.weights.dense_file import DenseCounter, DenseRecorder
from hugectr2onnx.frontend.weights.statistics import CountedStatistics, InventedStatistics
from hugectr2onnx.ir.feeds import smallest_batch
from hugectr2onnx.ir.graph import Graph
from hugectr2onnx.ir.types import Batch, N, TensorType

MAX_CANDIDATES = 4096
"""Shapes that are tried for one Reshape: about a second."""
MAX_COMPARED = 1024
MAX_INVENTED_FLOATS = 1 << 28
"""Random weights for all candidates that are compared: about three seconds."""
MAX_AXIS = 6
MAX_STEPS = 100_000
TRIALS = 2


@dataclass(frozen=True)
class Recovered:
    """The options with what was recovered in `layer_attrs`, and a sentence for each recovery."""

    resolved: ResolvedOptions
    notes: tuple[str, ...] = ()


def recover(clauses: GraphClauses, resolved: ResolvedOptions, floats: int) -> Recovered:
    """Recover what can be, for a dense file of so many floats.

    Raises MissingInformationError, with the layers and the entries to give, where more than one answer fits.
    """
    lost = [clause for clause in clauses.layers if _has_lost_shape(clause, resolved)]
    if len(lost) == 1:
        return _recover_shape(clauses, resolved, floats, lost[0])
    if lost:
        raise _ask("shape", lost, "the size of the dense file cannot tell several of them apart", [-1, ...])
    return _recover_projections(clauses, resolved, floats)


def dry_import(clauses: GraphClauses, resolved: ResolvedOptions) -> Importer:
    """Return the import with no files at all: vectors stand for tables and zeros without memory for weights."""
    return _import(clauses, resolved, Sources(DenseCounter(), CountedStatistics()))


def _import(clauses: GraphClauses, resolved: ResolvedOptions, sources: Sources) -> Importer:
    importer = Importer(clauses, sources, resolved.changed(convert_embedding=False))
    importer.run()
    return importer


# MultiCross


def _recover_projections(clauses: GraphClauses, resolved: ResolvedOptions, floats: int) -> Recovered:
    importer = dry_import(clauses, resolved)
    networks = [each for each in importer.summaries if each.type == "MultiCross"]
    unknown = [each for each in networks if _has_unknown_projection(clauses, resolved, each)]
    if importer.errors or not unknown or importer.floats == floats:
        return Recovered(resolved)
    left = floats - importer.floats + sum(each.floats for each in unknown)
    solutions = list(_solutions([each.floats // 2 for each in unknown], left, [MAX_STEPS], most=2))
    if not solutions:
        return Recovered(resolved)
    tops = [each.tops[0] for each in unknown]
    if len(solutions) > 1:
        example = f"projection_dim={max(solutions[0])} for all would fit" if len(set(solutions[0])) == 1 else ""
        names = [clause for clause in clauses.layers if clause.tops[:1] and clause.tops[0] in tops]
        raise _ask("projection_dim", names, f"several answers fit the dense file's size {example}".strip(), ...)
    found = {top: {"projection_dim": p} for top, p in zip(tops, solutions[0], strict=True) if p}
    notes = tuple(
        f"{top}: projection_dim {a['projection_dim']} follows from the dense file's size" for top, a in found.items()
    )
    return Recovered(_with(resolved, found), notes)


def _has_unknown_projection(clauses: GraphClauses, resolved: ResolvedOptions, summary: LayerSummary) -> bool:
    clause = next(clause for clause in clauses.layers if clause.index == summary.index)
    given = clause.params.get("mc_param")
    stated = isinstance(given, Mapping) and "projection_dim" in given
    return not stated and "projection_dim" not in resolved.options.layer_attrs.get(summary.tops[0], {})


def _solutions(units: Sequence[int], floats: int, steps: list[int], most: int) -> Iterator[tuple[int, ...]]:
    """Projections p with sum(cost) = floats: a cross network of unit n * L costs 2 units for p = 0, else 2p + 1 of them.

    At most `most` of them, the one with equal projections first. Running out of steps counts as "several fit".
    """
    same, rest = divmod(floats - sum(units), 2 * sum(units))
    first = (same,) * len(units) if rest == 0 and same > 0 else None
    if first:
        yield first
    for found in _search(units, floats, steps):
        if found != first:
            yield found
            most -= 1
        if most == 0:
            return


def _search(units: Sequence[int], floats: int, steps: list[int]) -> Iterator[tuple[int, ...]]:
    if not units:
        if floats == 0:
            yield ()
        return
    unit, projection = units[0], 0
    while steps[0] > 0:
        cost = unit * (2 * projection + 1 if projection else 2)
        if projection and cost > floats:
            return
        steps[0] -= 1
        if cost <= floats:
            yield from ((projection, *others) for others in _search(units[1:], floats - cost, steps))
        projection += 1
    yield (0,) * len(units)


# Reshape


def _has_lost_shape(clause: LayerClause, resolved: ResolvedOptions) -> bool:
    """Tell whether a Reshape was given `shape=` in Python, of which the JSON keeps only a leading_dim and a time_step of 0."""
    attributes = {**clause.params, **resolved.options.layer_attrs.get(clause.tops[0] if clause.tops else "", {})}
    lost = attributes.get("leading_dim") == 0 and attributes.get("time_step", 0) == 0
    return clause.type == "Reshape" and lost and "shape" not in attributes and "selected" not in attributes


def _recover_shape(clauses: GraphClauses, resolved: ResolvedOptions, floats: int, clause: LayerClause) -> Recovered:
    importer = dry_import(clauses, resolved)
    bottom = importer.values.get(clause.bottoms[0])
    others = [error for error in importer.errors if not any(clause.where in n for n in getattr(error, "__notes__", ()))]
    if bottom is None or others:
        return Recovered(resolved)  # the import itself reports these errors
    part = _Part.behind(clause, clauses, importer)
    shapes = _candidates(bottom.type, part.max_rank)
    if len(shapes) > MAX_CANDIDATES:
        raise _ask("shape", [clause], f"{len(shapes)} shapes are too many to try", [-1, ...])
    by_shape = {shape: _with(resolved, {clause.tops[0]: {"shape": list(shape)}}) for shape in shapes}
    batches = {shape: part.smallest_batch(tried, floats) for shape, tried in by_shape.items()}
    # A shape that takes any batch comes before one that takes only multiples of some number.
    fitting = sorted((shape for shape, batch in batches.items() if batch), key=lambda shape: batches[shape])
    some = ", ".join(str(list(shape)) for shape in fitting[:4]) + (", ..." if len(fitting) > 4 else "")
    if not fitting:
        raise _ask("shape", [clause], "no shape fits the dense file's size", [-1, ...])
    best, *more = fitting
    if more and not _mean_the_same(clauses, [by_shape[shape] for shape in fitting], floats):
        raise _ask("shape", [clause], f"{some} all fit the dense file's size", list(best))
    reason = f"stands for {some}, which all fit the dense file's size and compute the same"
    if not more:
        reason = "is the only one that fits the dense file's size"
    return Recovered(by_shape[best], (f"{clause.tops[0]}: shape {list(best)} {reason}",))


@dataclass(frozen=True)
class _Part:
    """The layers that a lost shape can change: those behind the Reshape. All others are imported once, not per candidate."""

    clauses: GraphClauses
    known: Mapping[str, TensorType]
    """The tensors that these layers read from the rest of the graph."""
    other_floats: int
    """The dense weights of all other layers."""

    @staticmethod
    def behind(lost: LayerClause, clauses: GraphClauses, importer: Importer) -> _Part:
        """Return the part behind a Reshape; `importer` has imported everything else."""
        changed: set[str] = set(lost.tops)
        layers = []
        for clause in clauses.layers:
            if clause is lost or not changed.isdisjoint(clause.bottoms):
                changed.update(clause.tops)
                layers.append(clause)
        read = {bottom for clause in layers for bottom in clause.bottoms}
        known = {name: value.type for name, value in importer.values.items() if name in read and name not in changed}
        indexes = {clause.index for clause in layers}
        floats = sum(each.floats for each in importer.summaries if each.index not in indexes)
        return _Part(replace(clauses, layers=tuple(layers)), known, floats)

    @property
    def max_rank(self) -> int:
        """The highest rank that must be tried.

        A layer that takes more than 4 dimensions looks at the last one, or at one that its `axis` or `dim` names. All
        dimensions between these can be merged into one without changing what it computes, so a shape of rank 4, or one that
        ends behind the named dimension, stands for every longer one.
        """
        named = [_named_axis(clause) for clause in self.clauses.layers]
        return max(4, *(axis + 2 for axis in named))

    def smallest_batch(self, resolved: ResolvedOptions, floats: int) -> int:
        """Return the smallest batch that a candidate takes.

        0 where it does not fit: the layers refuse it, do not use the dense file up, or do not end with one row a sample.
        """
        importer = Importer(self.clauses, Sources(DenseCounter(), CountedStatistics()), resolved)
        importer.run_part(self.known)
        if importer.errors or self.other_floats + importer.floats != floats:
            return 0
        return smallest_batch(importer.graph) if _has_a_row_a_sample(importer.graph) else 0


def _named_axis(clause: LayerClause) -> int:
    axis = clause.params.get("axis", clause.params.get("dim", 0))
    return min(axis, MAX_AXIS) if isinstance(axis, int) else 0


def _candidates(type: TensorType, max_rank: int) -> list[tuple[int, ...]]:
    """Return every shape of rank 2 to `max_rank` into which a tensor can go, its batch first.

    The most likely ones come first: those that keep a sample in one row, of the lowest rank; then those that fold it into
    several rows. A batch anywhere else would mix samples, and no such model can be exported.
    """
    count = type.elements
    width = count.factor if isinstance(count, Batch) else Fraction(count)
    if width.denominator != 1 or not 1 <= width.numerator <= MAX_CANDIDATES**2:
        return []
    whole = width.numerator
    kept = [shape for rank in range(1, max_rank) for shape in islice(_factors(whole, rank), MAX_CANDIDATES)]
    parts = [part for part in _divisors(whole) if part < whole]
    folded = [s for rank in range(1, max_rank) for part in parts for s in islice(_factors(part, rank), MAX_CANDIDATES)]
    return [(-1, *shape) for shape in [*kept, *folded]]


def _factors(number: int, count: int) -> Iterator[tuple[int, ...]]:
    """Yield every way to write a number as a product of so many factors, in their order; large last factors first."""
    if count == 1:
        yield (number,)
        return
    for last in _divisors(number):
        yield from ((*others, last) for others in _factors(number // last, count - 1))


def _has_a_row_a_sample(graph: Graph) -> bool:
    """Tell whether samples that a Reshape folded into rows have come back to one row by the end, with or without a loss."""
    rows = (dim for value in graph.outputs.values() for dim in value.shape[:1])
    return not any(isinstance(dim, Batch) and dim != N for dim in rows)


def _mean_the_same(clauses: GraphClauses, candidates: Sequence[ResolvedOptions], floats: int) -> bool:
    """Tell whether it makes no difference which candidate is right: they agree under random weights."""
    if len(candidates) > MAX_COMPARED or floats * len(candidates) > MAX_INVENTED_FLOATS:
        return False
    return all(
        compute_the_same((_invented(clauses, each, seed) for each in candidates), seed) for seed in range(TRIALS)
    )


def _invented(clauses: GraphClauses, resolved: ResolvedOptions, seed: int) -> Graph:
    weights, statistics = (np.random.default_rng([seed, part]) for part in range(2))
    return _import(clauses, resolved, Sources(DenseRecorder(weights), InventedStatistics(statistics))).graph


def _divisors(number: int) -> list[int]:
    """Largest first."""
    small = [d for d in range(1, int(number**0.5) + 1) if number % d == 0]
    return sorted({*small, *(number // d for d in small)}, reverse=True)


def _with(resolved: ResolvedOptions, found: Mapping[str, Mapping[str, object]]) -> ResolvedOptions:
    merged = {top: {**resolved.options.layer_attrs.get(top, {}), **attributes} for top, attributes in found.items()}
    return resolved.changed(layer_attrs={**resolved.options.layer_attrs, **merged})


def _ask(name: str, clauses: Sequence[LayerClause], reason: str, example: object) -> MissingInformationError:
    where = "; ".join(clause.where for clause in clauses)
    entries = {clause.tops[0]: {name: example} for clause in clauses}
    return MissingInformationError(
        f"{where}: HugeCTR does not save `{name}` in the JSON, and {reason}: give ", Setting("layer_attrs", entries)
    )
