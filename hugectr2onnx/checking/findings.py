"""The errors and warnings that a dry run has found so far."""

from __future__ import annotations

from hugectr2onnx.checking.report import Problem
from hugectr2onnx.errors import ErrorCollector


class Findings(ErrorCollector):
    """The errors and warnings of a dry run, in the order in which they were found."""

    def __init__(self) -> None:
        super().__init__()
        self.warnings: list[str] = []

    def problems(self) -> tuple[Problem, ...]:
        """Return the errors as data, each once."""
        return tuple(dict.fromkeys(map(Problem.of, self.errors)))
