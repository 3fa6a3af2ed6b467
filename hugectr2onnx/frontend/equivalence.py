"""Tell whether graphs that differ in an assumption compute the same, by evaluating them on random numbers."""

from __future__ import annotations

from collections.abc import Iterator
from math import lcm

import numpy as np

from hugectr2onnx.ir.evaluator import evaluate
from hugectr2onnx.ir.feeds import feeds_for, smallest_batch
from hugectr2onnx.ir.graph import Graph
from hugectr2onnx.ir.types import Array

FEWEST_ROWS = 4
MOST_ROWS = 512


def compute_the_same(graphs: Iterator[Graph], seed: int) -> bool:
    """Tell whether graphs of the same inputs give the same outputs for some of them; False where their numbers prove nothing.

    The graphs are taken one by one, so that an iterator need not hold the weights of all.
    """
    first = next(graphs)
    return all(_agree(first, other, seed) for other in graphs)


def _agree(a: Graph, b: Graph, seed: int) -> bool:
    batch = lcm(FEWEST_ROWS, smallest_batch(a), smallest_batch(b))
    if batch > MOST_ROWS:
        return False
    feeds = feeds_for(a, batch, seed)
    expected, found = evaluate(a, feeds), evaluate(b, feeds)
    return all(_proves(expected[name]) and _equal(expected[name], found[name]) for name in expected)


def _proves(output: Array) -> bool:
    """Return numbers that are the same in every row may be saturated, or may not depend on what is in question."""
    return bool(np.isfinite(output).all() and np.ptp(output, axis=0).all())


def _equal(a: Array, b: Array) -> bool:
    return a.shape == b.shape and np.allclose(a, b, rtol=1e-9, atol=1e-12)
