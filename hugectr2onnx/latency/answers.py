"""Compare the outputs of files on the same inputs, before anybody compares how long they take."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from hugectr2onnx.datasets.recorded_predictions import ATOL, RECORDED_RTOL
from hugectr2onnx.ir.types import Array


@dataclass(frozen=True)
class OutputDifference:
    """One output of two files: the largest absolute difference and the share of elements out of tolerance.

    `problem` says why they cannot be compared; `other` is what the other file calls the output.
    """

    output: str
    other: str
    max_error: float | None = None
    share: float = 0.0
    problem: str = ""

    @property
    def same(self) -> bool:
        return not self.problem and self.share == 0

    def __str__(self) -> str:
        if self.problem:
            return f"{self.output}: {self.problem}"
        return f"{self.output}: differs by up to {self.max_error:.2g}, in {self.share:.1%} of the elements too much"


def compare_outputs(
    expected: Mapping[str, Array], found: Mapping[str, Array], rtol: float = RECORDED_RTOL, atol: float = ATOL
) -> tuple[OutputDifference, ...]:
    """Output by output: those of one name, else in their order. An element may be off by `atol + rtol * |expected|`."""
    if len(expected) != len(found):
        text = f"{len(expected)} outputs here and {len(found)} there: {', '.join(found) or 'none'}"
        return (OutputDifference(next(iter(expected), "-"), "-", problem=text),)
    pairs = zip(expected, found if expected.keys() != found.keys() else expected, strict=True)
    return tuple(_compare(name, other, expected[name], found[other], rtol, atol) for name, other in pairs)


def all_same(differences: Sequence[OutputDifference]) -> bool:
    return all(each.same for each in differences)


def _compare(name: str, other: str, expected: Array, found: Array, rtol: float, atol: float) -> OutputDifference:
    if expected.size != found.size:
        return OutputDifference(
            name, other, problem=f"the shapes differ: {list(expected.shape)} and {list(found.shape)}"
        )
    a, b = (np.asarray(each, np.float64).reshape(-1) for each in (expected, found))
    with np.errstate(invalid="ignore"):
        error = np.where((a == b) | (np.isnan(a) & np.isnan(b)), 0.0, np.abs(a - b))
    error = np.nan_to_num(error, nan=np.inf)
    wrong = error > atol + rtol * np.nan_to_num(np.abs(a), nan=0.0, posinf=0.0)
    return OutputDifference(name, other, float(error.max(initial=0.0)), float(wrong.mean()) if wrong.size else 0.0)
