"""Budgets of several limits, over labels and over predictions alone."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest

from hugectr2onnx.quantization.budget import Budget
from hugectr2onnx.quantization.metrics import Quality

BEFORE = {"label": Quality("label", 10, 5, 0.8, 0.4, 0.0, 0.0, 1.0, 0.0)}


def after(**changes: float) -> dict[str, Quality]:
    return {"label": replace(BEFORE["label"], **changes)}


@pytest.mark.parametrize(
    ("text", "measure", "within", "beyond"),
    [
        ("max:1e-2", "max_change", 0.01, 0.0101),
        ("mean:.001", "mean_change", 0.001, 0.0011),
        ("rank:99.9%", "rank_correlation", 0.9991, 0.9989),
        ("calibration:1%", "calibration_change", 0.0099, 0.0101),
        ("logloss:0.1%", "log_loss", 0.40039, 0.40041),
    ],
)
def test_each_measure(text: str, measure: str, within: float, beyond: float) -> None:
    budget = Budget.parse(text)
    assert budget.allows(BEFORE, after(**{measure: within}))
    assert not budget.allows(BEFORE, after(**{measure: beyond}))
    assert budget.used(BEFORE, after(**{measure: within})) <= 1 < budget.used(BEFORE, after(**{measure: beyond}))


def test_every_limit_holds() -> None:
    budget = Budget.parse("auc:99.9%, logloss:0.1%,max:1e-2")
    assert budget.allows(BEFORE, after(auc=0.7995, log_loss=0.4003, max_change=0.009))
    assert not budget.allows(BEFORE, after(auc=0.7995, log_loss=0.4003, max_change=0.02))
    assert not budget.allows(BEFORE, after(auc=0.7, log_loss=0.4003, max_change=0.009))


def test_the_share_that_is_used_up_is_that_of_the_tightest_limit() -> None:
    budget = Budget.parse("auc:99%,max:1e-2")
    assert budget.used(BEFORE, after(auc=0.796, max_change=0.002)) == pytest.approx(0.5)
    assert budget.used(BEFORE, after(auc=0.8, max_change=0.03)) == pytest.approx(3)


def test_what_is_not_defined_is_never_within_a_budget() -> None:
    budget = Budget.parse("rank:99%")
    assert not budget.allows(BEFORE, after(rank_correlation=float("nan")))
    assert budget.used(BEFORE, after(rank_correlation=float("nan"))) == math.inf


def test_which_samples_a_budget_needs() -> None:
    assert Budget.parse("max:1e-2").needs_predictions and not Budget.parse("max:1e-2").needs_labels
    assert Budget.parse("auc:99%").needs_labels and not Budget.parse("auc:99%").needs_predictions
