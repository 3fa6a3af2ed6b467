"""Recovering what graph_to_json loses from the size of the dense file (layers 2.3).

`projection_dim` of MultiCross follows from the floats that the other layers leave over. The `shape` of a Reshape is
found by trial: a dry import with each candidate of rank 2 or 3 must use the file up exactly and give one row a sample.
Where several do, they must all compute the same; otherwise the user is asked.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction

import numpy as np

from hugectr2onnx.errors import MissingInformationError, Setting
from hugectr2onnx.frontend.equivalence import compute_the_same
from hugectr2onnx.frontend.graph_json.clauses import GraphClauses, LayerClause
from hugectr2onnx.frontend.importer import Importer, LayerSummary, Sources
from hugectr2onnx.frontend.resolved_options import ResolvedOptions
from hugectr2onnx.frontend.weights.dense_file import DenseCounter, DenseRecorder
from hugectr2onnx.frontend.weights.statistics import CountedStatistics, InventedStatistics
from hugectr2onnx.ir.graph import Graph
from hugectr2onnx.ir.types import Batch, N

MOST_CANDIDATES = 4096
MOST_STEPS = 100_000
MOST_COMPARED = 64
MOST_INVENTED = 1 << 24
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
    """The import with no files at all: vectors stand for tables and zeros without memory for weights."""
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
    solutions = list(_solutions([each.floats // 2 for each in unknown], left, [MOST_STEPS], most=2))
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
    attributes = {**clause.params, **resolved.options.layer_attrs.get(clause.tops[0] if clause.tops else "", {})}
    lost = attributes.get("leading_dim") == 0 and attributes.get("time_step", 0) == 0
    return clause.type == "Reshape" and lost and "shape" not in attributes and "selected" not in attributes


def _recover_shape(clauses: GraphClauses, resolved: ResolvedOptions, floats: int, clause: LayerClause) -> Recovered:
    importer = dry_import(clauses, resolved)
    bottom = importer.values.get(clause.bottoms[0])
    others = [error for error in importer.errors if not any(clause.where in n for n in getattr(error, "__notes__", ()))]
    if bottom is None or others:
        return Recovered(resolved)
    count = bottom.type.elements
    width = count.factor if isinstance(count, Batch) else Fraction(count)
    by_shape = {shape: _with(resolved, {clause.tops[0]: {"shape": list(shape)}}) for shape in _candidates(width)}
    fitting = [shape for shape, tried in by_shape.items() if _fits(clauses, tried, floats)]
    some = ", ".join(str(list(shape)) for shape in fitting[:4]) + (", ..." if len(fitting) > 4 else "")
    if not fitting:
        raise _ask("shape", [clause], "no shape of rank 2 or 3 fits the dense file's size", [-1, ...])
    best, *more = fitting
    if more and not _mean_the_same(clauses, [by_shape[shape] for shape in fitting], floats):
        raise _ask("shape", [clause], f"{some} all fit the dense file's size", list(best))
    reason = f"stands for {some}, which all fit the dense file's size and compute the same"
    if not more:
        reason = "is the only one of rank 2 or 3 that fits the dense file's size"
    return Recovered(by_shape[best], (f"{clause.tops[0]}: shape {list(best)} {reason}",))


def _candidates(width: Fraction) -> list[tuple[int, ...]]:
    """Shapes for samples of so many numbers: those that keep a sample one row first, those that fold it into rows last."""
    if width.denominator != 1 or width < 1:
        return []
    whole, *parts = _divisors(width.numerator)
    kept = [(-1, whole // last, last) for last in (whole, *parts)]
    return [(-1, whole), *kept, *((-1, part) for part in parts)]


def _fits(clauses: GraphClauses, resolved: ResolvedOptions, floats: int) -> bool:
    importer = dry_import(clauses, resolved)
    return not importer.errors and importer.floats == floats and _has_a_row_a_sample(importer.graph)


def _has_a_row_a_sample(graph: Graph) -> bool:
    """Whether samples that a Reshape folded into rows have come back to one row by the end, with or without a loss."""
    rows = (dim for value in graph.outputs.values() for dim in value.shape[:1])
    return not any(isinstance(dim, Batch) and dim != N for dim in rows)


def _mean_the_same(clauses: GraphClauses, candidates: Sequence[ResolvedOptions], floats: int) -> bool:
    """Whether it makes no difference which candidate is right: they agree under random weights."""
    if len(candidates) > MOST_COMPARED or floats > MOST_INVENTED:
        return False
    return all(
        compute_the_same((_invented(clauses, each, seed) for each in candidates), seed) for seed in range(TRIALS)
    )


def _invented(clauses: GraphClauses, resolved: ResolvedOptions, seed: int) -> Graph:
    weights, statistics = (np.random.default_rng([seed, part]) for part in range(2))
    return _import(clauses, resolved, Sources(DenseRecorder(weights), InventedStatistics(statistics))).graph


def _divisors(number: int) -> list[int]:
    """Largest first; none where there would be too many to try."""
    if number > MOST_CANDIDATES**2:
        return [number]
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
