"""Answers against predictions that HugeCTR recorded."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from hugectr2onnx.datasets.recorded_predictions import Samples
from hugectr2onnx.ir.types import Array
from hugectr2onnx.verification.result import RecordedComparison

_MAX_SHOWN_ROWS = 10


def compare_with_predictions(
    recorded: Samples, answers: Mapping[str, Mapping[str, Array]], rtol: float, atol: float
) -> tuple[RecordedComparison, ...]:
    """Return each recorded output against the answers of each party ("the file", "the reference")."""
    return tuple(
        _compare(name, who, found[name], recorded.shaped(name, found[name].shape), rtol, atol)
        for name in recorded.predictions
        for who, found in answers.items()
    )


def excess(found: Array, prediction: Array, rtol: float, atol: float) -> tuple[Array, Array]:
    """(error, how far it is beyond the tolerance) of each element."""
    with np.errstate(all="ignore"):
        error = np.abs(found.astype(np.float64) - prediction)
        allowed = atol + rtol * np.abs(prediction)
    error[np.isnan(found) & np.isnan(prediction) | (found == prediction)] = 0.0
    error[np.isnan(error)] = np.inf
    return error, error - np.where(np.isfinite(allowed), allowed, atol)


def _compare(name: str, who: str, found: Array, prediction: Array, rtol: float, atol: float) -> RecordedComparison:
    error, beyond = excess(found, prediction, rtol, atol)
    worst = np.unravel_index(int(np.argmax(beyond)), error.shape) if error.size else ()
    rows = np.flatnonzero((beyond > 0).reshape(len(error), -1).any(axis=1)) if error.size else np.empty(0, int)
    return RecordedComparison(
        output=name,
        answers_of=who,
        max_error=float(error.max(initial=0.0)),
        tolerance=float(error[worst] - beyond[worst]) if error.size and np.isfinite(error[worst]) else atol,
        exceeding=int(np.count_nonzero(beyond > 0)),
        elements=int(error.size),
        rows=tuple(rows[:_MAX_SHOWN_ROWS].tolist()),
        all_rows=rows,
    )


def problems(comparisons: Sequence[RecordedComparison], path: str) -> list[str]:
    """Tell what differs, a sentence for each output and each party."""
    return [
        f"{each.output}: {each.answers_of} differs in {each.exceeding} of {each.elements} elements, by up to "
        f"{each.max_error:.3g} where {each.tolerance:.3g} is allowed, from HugeCTR's predictions in {path}: {_rows(each)}"
        for each in comparisons
        if not each.passed
    ]


def _rows(comparison: RecordedComparison) -> str:
    listed = ", ".join(map(str, comparison.rows))
    more = ", ..." if len(comparison.rows) == _MAX_SHOWN_ROWS else ""
    return f"{'row' if len(comparison.rows) == 1 else 'rows'} {listed}{more}"
