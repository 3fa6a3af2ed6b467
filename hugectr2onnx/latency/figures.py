"""The figures of a measurement: medians, ratios round by round, their spread, geometric means."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import chain

import numpy as np

P99_RUNS = 1000
"""From how many runs a 99th percentile means something."""


@dataclass(frozen=True)
class Latency:
    """Seconds of one participant over all rounds; p99 is None below 1,000 runs."""

    runs: int
    median: float
    fastest: float
    p99: float | None


@dataclass(frozen=True)
class Ratio:
    """The median over the rounds, with the quartiles of the rounds as its spread."""

    median: float
    low: float
    high: float


def latency(rounds: Sequence[Sequence[float]]) -> Latency:
    """Return the figures of all calls together."""
    every = np.fromiter(chain.from_iterable(rounds), np.float64)
    p99 = float(np.percentile(every, 99)) if len(every) >= P99_RUNS else None
    return Latency(len(every), float(np.median(every)), float(every.min()), p99)


def round_medians(rounds: Sequence[Sequence[float]]) -> list[float]:
    return [float(np.median(calls)) for calls in rounds]


def ratio(above: Sequence[float], below: Sequence[float]) -> Ratio:
    """`above / below`, round by round: what slows a whole round cancels out."""
    ratios = np.asarray(above, np.float64) / np.asarray(below, np.float64)
    low, median, high = np.percentile(ratios, [25, 50, 75])
    return Ratio(float(median), float(low), float(high))


def geometric_mean(values: Iterable[float]) -> float:
    """Return the mean that makes twice as fast and half as fast cancel out; raises ValueError without values."""
    logs = np.log(np.fromiter(values, np.float64))
    if not len(logs):
        raise ValueError("no values")
    return float(np.exp(logs.mean()))
