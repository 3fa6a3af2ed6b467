"""Translation validation: a pass must not change what the graph computes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from hugectr2onnx.errors import PassError
from hugectr2onnx.ir.evaluator import evaluate
from hugectr2onnx.ir.feeds import feeds_for, smallest_batch
from hugectr2onnx.ir.graph import Graph
from hugectr2onnx.ir.tolerance import errors
from hugectr2onnx.ir.types import Array


@dataclass(frozen=True)
class _Expectation:
    """One feed, and what the graph made of it before any pass, in float64 and in float32."""

    feeds: Mapping[str, Array]
    reference: Mapping[str, Array]
    rounded: Mapping[str, Array]


class Validation:
    """The outputs of the unoptimised graph on random feeds, compared with those after each pass.

    Level 1 changes nothing at all; beyond, what float32 rounding of folded weights may change is what parity allows.
    """

    def __init__(self, graph: Graph, *, exact: bool, seed: int = 0):
        self.exact = exact
        batches = [feeds_for(graph, size * smallest_batch(graph), seed) for size in (1, 5)]
        self.expected = [
            _Expectation(feeds, evaluate(graph, feeds), evaluate(graph, feeds, precision=np.float32))
            for feeds in batches
        ]

    def check(self, graph: Graph, pass_name: str) -> None:
        """Raise PassError if an output differs."""
        for each in self.expected:
            for name, found in evaluate(graph, each.feeds).items():
                difference = self._difference(each.reference[name], each.rounded[name], found)
                if difference:
                    raise PassError(f"{pass_name} changes output {name}: {difference}")

    def _difference(self, reference: Array, rounded: Array, found: Array) -> str:
        """What is wrong with an output, or nothing."""
        if reference.shape != found.shape:
            return f"shape {reference.shape} becomes {found.shape}"
        error, tolerance = errors(reference, rounded, found)
        wrong = _changed(reference, found) if self.exact else error > tolerance
        if not wrong.any():
            return ""
        place = np.unravel_index(int(np.where(wrong, error, -1).argmax()), error.shape)
        allowed = 0.0 if self.exact else tolerance[place]
        return f"by up to {error[place]:.3g}, where {allowed:.3g} is allowed"


def _changed(reference: Array, found: Array) -> Array:
    return np.asarray(~((reference == found) | (np.isnan(reference) & np.isnan(found))))
