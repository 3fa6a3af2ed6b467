"""Measure how long models take, in turn, so that a busy machine is equally unfair to all of them."""

from __future__ import annotations

import time
from collections.abc import Mapping
from statistics import median
from typing import Any, TypeVar

K = TypeVar("K")

_SECONDS = 1.0
MOST_ROUNDS = 500
_WARM_UP = 5


def medians(sessions: Mapping[K, Any], feeds: Mapping[str, Any]) -> dict[K, float]:
    """Return the median seconds of a run of each session, over rounds in which each runs once, for about a second in all."""
    taken: dict[K, list[float]] = {key: [] for key in sessions}
    for session in sessions.values():
        for _ in range(_WARM_UP):
            session.run(None, feeds)
    end = time.perf_counter() + _SECONDS
    for _ in range(MOST_ROUNDS):
        for key, session in sessions.items():
            start = time.perf_counter()
            session.run(None, feeds)
            taken[key].append(time.perf_counter() - start)
        if time.perf_counter() > end:
            break
    return {key: median(times) for key, times in taken.items()}
