"""Collect a histogram of differences between predictions and recorded ones, and some pairs to plot."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from hugectr2onnx.ir.types import Array

EDGES = tuple(float(f"1e{power}") for power in range(-9, 1))
"""Bounds between the classes of absolute differences, one a decade."""
MAX_PAIRS = 500


@dataclass(frozen=True)
class Differences:
    """Of one output: `counts[i]` absolute differences are at least `edges[i - 1]` and below `edges[i]`.

    `pairs` are (recorded, prediction) of elements at equal distances from one another, in their order.
    """

    output: str
    counts: tuple[int, ...]
    pairs: tuple[tuple[float, float], ...]
    edges: tuple[float, ...] = EDGES


@dataclass
class DifferenceCounter:
    """Takes predictions of one output batch by batch; memory does not grow with their number."""

    output: str
    _counts: Array = field(default_factory=lambda: np.zeros(len(EDGES) + 1, np.int64))
    _pairs: list[tuple[float, float]] = field(default_factory=list)
    _step: int = 1
    _seen: int = 0

    def add(self, found: Array, wanted: Array, error: Array) -> None:
        """Arrays of one shape: predictions, what was recorded, and how far both are apart."""
        self._counts += np.bincount(np.searchsorted(EDGES, error.ravel(), "right"), minlength=len(EDGES) + 1)
        places = np.arange(-self._seen % self._step, error.size, self._step)
        self._pairs += zip(wanted.ravel()[places].tolist(), found.ravel()[places].tolist(), strict=True)
        self._seen += error.size
        while len(self._pairs) > MAX_PAIRS:
            self._pairs, self._step = self._pairs[::2], 2 * self._step

    def result(self) -> Differences:
        return Differences(self.output, tuple(self._counts.tolist()), tuple(self._pairs))
