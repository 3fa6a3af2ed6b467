"""A dry run goes on after an error."""

from __future__ import annotations

from hugectr2onnx.checking.findings import Findings
from hugectr2onnx.errors import ShapeError, WeightsError


def fail(message: str) -> int:
    raise WeightsError(message)


def test_problems_are_in_the_order_in_which_they_were_found_each_once() -> None:
    findings = Findings()
    assert findings.attempt(fail, "first") is None
    findings.errors.append(ShapeError("second"))
    findings.attempt(fail, "first")
    assert [(each.kind, each.message) for each in findings.problems()] == [
        ("WeightsError", "first"),
        ("ShapeError", "second"),
    ]


def test_a_step_that_succeeds_gives_its_result() -> None:
    findings = Findings()
    assert findings.attempt(int, "12") == 12
    assert findings.problems() == ()
