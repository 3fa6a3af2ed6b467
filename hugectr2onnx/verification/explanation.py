"""Explain a difference in sentences: rows and what they share, causes that were tried, what was not compared."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

import numpy as np

from hugectr2onnx.backend.runtime.parity import Parity
from hugectr2onnx.datasets.recorded_predictions import Samples
from hugectr2onnx.ir.expectation import Expectation
from hugectr2onnx.ir.types import Array
from hugectr2onnx.verification.causes import ModelSource, find_causes
from hugectr2onnx.verification.common_traits import common_traits
from hugectr2onnx.verification.mixed_precision import HalfPrecision, half_precision
from hugectr2onnx.verification.recorded import problems as recorded_problems
from hugectr2onnx.verification.result import Recompilation, RecordedComparison
from hugectr2onnx.verification.table_comparison import RowDifference, TableComparison

_MAX_LISTED = 4
RELATIVE = 1e-5
"""Of the largest number of a constant: what sums in another order on another machine may change in a folded one."""
CAUSE_TOLERANCE = 1e-4


def of_tables(tables: Sequence[TableComparison]) -> Iterator[str]:
    """Tell what differs in tables that were compared as a whole, a sentence for each."""
    for table in tables:
        if table.differing:
            keys = ", ".join(_row(each) for each in table.examples[:_MAX_LISTED])
            more = ", ..." if table.differing > _MAX_LISTED else ""
            yield f"table {table.table}: {table.differing:,} of {table.keys:,} keys have another vector: {keys}{more}"
        if table.unexpected:
            listed = "; ".join(table.unexpected_examples[:_MAX_LISTED])
            yield f"table {table.table}: {table.unexpected:,} rows or keys are not those of the source: {listed}"


def _row(difference: RowDifference) -> str:
    if difference.holds is not None and difference.holds != difference.key:
        return f"key {difference.key} has that of key {difference.holds}"
    return (
        f"key {difference.key} (row {difference.file_row}, in the source {difference.source_row}) is off by "
        f"{difference.max_error:.3g} in column {difference.column}"
    )


def of_identity(identity: Recompilation) -> Iterator[str]:
    """Yield the constants that are not those of the source."""
    for each in identity.differences:
        if each.max_error > RELATIVE * each.largest:
            yield (
                f"the constant {each.tensor} is not that of the source: {each.elements:,} of its numbers differ, by up to "
                f"{each.max_error:.3g}"
            )


def gaps(tables: Sequence[TableComparison], identity: Recompilation, parity: Parity) -> Iterator[str]:
    """Tell what no comparison reached."""
    for table in tables:
        if table.not_compared:
            yield f"table {table.table} was not compared as a whole: {table.not_compared}"
    if identity.identical:
        return
    if identity.reason:
        yield f"constants were not compared one by one: {identity.reason}"
    asleep = [each for each in parity.hidden_units if each.active < each.units]
    if asleep:
        listed = ", ".join(f"{each.layer} {1 - each.active / each.units:.0%}" for each in asleep)
        yield f"hidden units that were zero on all feeds, so that their weights are not exercised: {listed}"


def of_feeds(
    source: ModelSource, expected: Sequence[Expectation], answers: Sequence[Mapping[str, Array]], parity: Parity
) -> Iterator[str]:
    """Tell why answers to generated feeds differ from the reference."""
    each, found = max(zip(expected, answers, strict=True), key=lambda pair: pair[0].batch)
    differs = np.zeros(each.batch, bool)
    for output in parity.outputs:
        for difference in output.differences:
            if difference.batch == each.batch and difference.place[0] < each.batch:
                differs[difference.place[0]] = True
    yield from common_traits(source.loaded.graph, each.feeds, _differing(each, found) | differs)
    passed = [output.name for output in parity.outputs if output.passed]
    if passed:
        yield f"the same as the reference: {', '.join(passed)}"
    yield from _causes(source, each.feeds, found, "the file's answers")


def _differing(each: Expectation, found: Mapping[str, Array]) -> Array:
    """Return the samples with an element out of tolerance, of outputs that have one row a sample."""
    differs = np.zeros(each.batch, bool)
    for name, array in found.items():
        if array.shape == each.reference[name].shape and len(array) == each.batch:
            error, most = each.errors(name, array)
            differs |= (error > most).reshape(each.batch, -1).any(axis=1)
    return differs


def of_predictions(
    source: ModelSource,
    samples: Samples,
    comparisons: Sequence[RecordedComparison],
    expected: Expectation,
    rtol: float,
    atol: float,
    mixed_precision: bool,
) -> tuple[list[str], list[str]]:
    """(problems, notes) of a comparison with recorded predictions."""
    if all(each.passed for each in comparisons):
        return [], []
    graph = source.loaded.graph
    layers = [top for layer in source.loaded.layers for top in layer.tops]
    layers += [clause.top for clause in source.loaded.clauses.embeddings]
    shaped = {name: samples.shaped(name, expected.reference[name].shape) for name in samples.predictions}
    half = half_precision(graph, layers, samples.feeds, expected.reference, shaped, atol, rtol)
    if half.explains:
        note = _half(half)
        return (
            ([], [note])
            if mixed_precision
            else (recorded_problems(comparisons, samples.path), [note + "; say --mixed-precision if it was"])
        )
    notes = (
        [f"rounding to half does not explain it: it changes the reference by up to {half.of_half:.3g}"]
        if mixed_precision
        else []
    )
    differs = np.zeros(samples.rows, bool)
    for each in comparisons:
        if len(expected.reference[each.output]) == samples.rows:
            differs[list(each.all_rows)] = True
    notes += common_traits(graph, samples.feeds, differs)
    notes += _causes(source, samples.feeds, shaped, "HugeCTR's predictions", rtol, atol)
    return recorded_problems(comparisons, samples.path), notes


def _half(half: HalfPrecision) -> str:
    return (
        f"HugeCTR's predictions differ from the reference by up to {half.found:.3g}, and rounding to half in every layer "
        f"changes the reference by up to {half.of_half:.3g}: they are those of a model in mixed precision"
    )


def _causes(
    source: ModelSource,
    feeds: Mapping[str, Array],
    found: Mapping[str, Array],
    whose: str,
    rtol: float = CAUSE_TOLERANCE,
    atol: float = CAUSE_TOLERANCE,
) -> Iterator[str]:
    causes, tried = find_causes(source, feeds, found, rtol, atol)
    for cause in causes:
        yield f"{whose} are those of {cause}"
    if not causes and tried:
        yield f"{tried} likely causes were tried and explain nothing (logarithm, offsets, other iterations, swapped tables)"
