"""What a dry run has found so far: an error is a finding, and the next step goes on."""

from __future__ import annotations

from collections.abc import Callable
from typing import ParamSpec, TypeVar

from hugectr2onnx.checking.report import Problem
from hugectr2onnx.errors import HugeCTR2ONNXError

P = ParamSpec("P")
T = TypeVar("T")


class Findings:
    """The problems and warnings of a dry run, in the order in which they were found."""

    def __init__(self) -> None:
        self.problems: list[HugeCTR2ONNXError] = []
        self.warnings: list[str] = []

    def attempt(self, step: Callable[P, T], *args: P.args, **keywords: P.kwargs) -> T | None:
        """The result of a step; None where it raised, and its error is one of the problems."""
        try:
            return step(*args, **keywords)
        except HugeCTR2ONNXError as error:
            self.problems.append(error)
            return None

    def reported(self) -> tuple[Problem, ...]:
        """The problems as data, each once."""
        return tuple(dict.fromkeys(map(Problem.of, self.problems)))
