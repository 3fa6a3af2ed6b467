"""Translation validation: a pass must not change what the graph computes."""

from __future__ import annotations

import numpy as np

from hugectr2onnx.errors import PassError
from hugectr2onnx.ir.evaluator import evaluate
from hugectr2onnx.ir.expectation import Expectation, expect
from hugectr2onnx.ir.feeds import feeds_for, smallest_batch
from hugectr2onnx.ir.graph import Graph
from hugectr2onnx.ir.types import Array


class Validation:
    """The outputs of the unoptimised graph on random feeds, compared with those after each pass.

    Level 1 changes nothing at all; beyond, what float32 rounding of folded weights may change is what parity allows.
    """

    def __init__(self, graph: Graph, *, exact: bool, seed: int = 0):
        self.exact = exact
        before, unit = graph.clone(), smallest_batch(graph)
        self.expected = [
            expect(before, before.outputs, feeds_for(graph, size * unit, seed), size * unit) for size in (1, 5)
        ]

    def check(self, graph: Graph, pass_name: str) -> None:
        """Raise PassError if an output differs."""
        for each in self.expected:
            for name, found in evaluate(graph, each.feeds).items():
                difference = self._difference(each, name, found)
                if difference:
                    raise PassError(f"{pass_name} changes output {name}: {difference}")

    def _difference(self, expected: Expectation, name: str, found: Array) -> str:
        """Tell what is wrong with an output, or nothing."""
        reference = expected.reference[name]
        if reference.shape != found.shape:
            return f"shape {reference.shape} becomes {found.shape}"
        error, tolerance = expected.errors(name, found)
        wrong = _changed(reference, found) if self.exact else error > tolerance
        if not wrong.any():
            return ""
        place = np.unravel_index(int(np.where(wrong, error, -1).argmax()), error.shape)
        allowed = 0.0 if self.exact else tolerance[place]
        return f"by up to {error[place]:.3g}, where {allowed:.3g} is allowed"


def _changed(reference: Array, found: Array) -> Array:
    return np.asarray(~((reference == found) | (np.isnan(reference) & np.isnan(found))))
