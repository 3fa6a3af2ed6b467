"""Measuring in turn: A B C A B C, a burst of calls each, so that whatever slows the machine slows all of them."""

from __future__ import annotations

import gc
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager

Clock = Callable[[], int]
Calls = Sequence[Callable[[], object]]
Rounds = list[list[float]]
"""Seconds of every call, a list for each round."""

WARM_CALLS = 3
WARM_SHARE = 0.1
"""The share of a participant's time that goes into warming up."""


def in_turn(
    participants: Mapping[str, Calls],
    *,
    rounds: int,
    seconds: float,
    weights: Mapping[str, float] | None = None,
    clock: Clock = time.perf_counter_ns,
) -> dict[str, Rounds]:
    """Run every participant once a round, for about `seconds` in all, and return the seconds of each call.

    A participant has a call for each of its feeds, and they rotate. `weights` says who gets more of the time than others.
    A burst has at least one call however long it takes, and at least one for each feed where that is cheap.
    """
    total = sum((weights or {}).get(name, 1.0) for name in participants)
    with _no_garbage_collection():
        bursts = {}
        for name, calls in participants.items():
            share = seconds * (weights or {}).get(name, 1.0) / total
            bursts[name] = _burst_length(_warm(calls, share * WARM_SHARE, clock), share / rounds)
        measured: dict[str, Rounds] = {name: [] for name in participants}
        position = dict.fromkeys(participants, 0)
        for _ in range(rounds):
            for name, calls in participants.items():
                measured[name].append(_burst(calls, position[name], bursts[name], clock))
                position[name] += bursts[name]
    return measured


def _warm(calls: Calls, seconds: float, clock: Clock) -> float:
    """Call for a while, every feed at least once; the seconds of the fastest call."""
    fastest, spent, done = float("inf"), 0.0, 0
    while spent < seconds or done < max(WARM_CALLS, len(calls)):
        (taken,) = _burst(calls, done, 1, clock)
        fastest, spent, done = min(fastest, taken), spent + taken, done + 1
    return fastest


def _burst_length(call: float, seconds: float) -> int:
    return max(1, int(seconds / max(call, 1e-9)))


def _burst(calls: Calls, start: int, count: int, clock: Clock) -> list[float]:
    taken = []
    for number in range(start, start + count):
        call = calls[number % len(calls)]
        begin = clock()
        call()
        taken.append((clock() - begin) * 1e-9)
    return taken


@contextmanager
def _no_garbage_collection() -> Iterator[None]:
    was = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was:
            gc.enable()
