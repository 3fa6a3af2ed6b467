"""Translation validation: a pass must not change what the graph computes."""

from __future__ import annotations

import numpy as np

from hugectr2onnx.errors import PassError
from hugectr2onnx.ir.evaluator import evaluate
from hugectr2onnx.ir.feeds import feeds_for, smallest_batch
from hugectr2onnx.ir.graph import Graph
from hugectr2onnx.ir.types import Array

TOLERANCE = 1e-5
"""What float32 rounding of folded weights may change, relative and absolute; level 1 changes nothing at all."""


class Validation:
    """The outputs of the unoptimised graph on random feeds, compared with those after each pass."""

    def __init__(self, graph: Graph, *, exact: bool, seed: int = 0):
        self.exact = exact
        self.batches = [feeds_for(graph, size * smallest_batch(graph), seed) for size in (1, 5)]
        self.expected = [evaluate(graph, feeds) for feeds in self.batches]

    def check(self, graph: Graph, pass_name: str) -> None:
        """Raise PassError if an output differs."""
        for feeds, expected in zip(self.batches, self.expected, strict=True):
            for name, array in evaluate(graph, feeds).items():
                if not self._same(expected[name], array):
                    raise PassError(f"{pass_name} changes output {name}: {_difference(expected[name], array)}")

    def _same(self, expected: Array, found: Array) -> bool:
        if self.exact:
            return np.array_equal(expected, found, equal_nan=True)
        return expected.shape == found.shape and np.allclose(expected, found, TOLERANCE, TOLERANCE, equal_nan=True)


def _difference(expected: Array, found: Array) -> str:
    if expected.shape != found.shape:
        return f"shape {expected.shape} becomes {found.shape}"
    return f"by up to {np.nanmax(np.abs(expected - found)):.3g}"
