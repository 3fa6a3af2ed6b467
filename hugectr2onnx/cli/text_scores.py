"""Runs over data sets, their metrics and comparisons as text."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from hugectr2onnx.cli.text_table import duration

if TYPE_CHECKING:
    from hugectr2onnx.cli.output import Output
    from hugectr2onnx.scoring.against import PredictionComparison
    from hugectr2onnx.scoring.predict import Predictions


def show_run(done: Predictions, output: Output) -> None:
    """Print how many samples, how fast, and where the predictions are."""
    rate = f", {done.rows / done.seconds:,.0f} rows/s" if done.seconds else ""
    place = f" -> {done.path}" if done.path else ""
    output.say(f"{done.rows:,} rows in {duration(done.seconds)}{rate}{place}")


def show_scores(scores: Mapping[str, Mapping[str, float]], output: Output) -> None:
    """Print one line a label, one column a metric."""
    if scores:
        names = tuple(next(iter(scores.values())))
        rows = [(label, *(f"{values[name]:.6f}" for name in names)) for label, values in scores.items()]
        output.title("metrics")
        output.table(("label", *names), rows, right=names)


def show_comparison(comparison: PredictionComparison, output: Output) -> None:
    """Print the verdict, and the rows that differ most."""
    output.title(f"against {comparison.path}, {comparison.rows:,} rows")
    output.say(comparison.verdict, "good" if comparison.passed else "error")
    if not comparison.passed:
        output.table(
            ("row", "output", "prediction", "recorded", "difference"),
            [
                (
                    each.row,
                    each.output,
                    f"{each.prediction:.6g}",
                    f"{each.recorded:.6g}",
                    f"{each.prediction - each.recorded:+.3g}",
                )
                for each in comparison.worst
            ],
            right=("row", "prediction", "recorded", "difference"),
        )
