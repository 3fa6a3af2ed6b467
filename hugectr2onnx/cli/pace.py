"""The lines that show how fast a model is being written, and how fast a data set is being read."""

from __future__ import annotations

import time
from collections.abc import Callable

from hugectr2onnx.cli.text_table import duration
from hugectr2onnx.pages.numbers import size

SAY_EVERY = 0.2
"""Seconds between two updates of the line."""


class RowPace:
    """Shows how many rows are done, how fast, and how long the rest takes, at most five times a second."""

    def __init__(self, show: Callable[[str], None], clock: Callable[[], float] = time.monotonic):
        self._show, self._clock = show, clock
        self._start = clock()
        self._said = -1.0

    def __call__(self, done: int, total: int | None) -> None:
        passed = self._clock() - self._start
        if 0 <= passed - self._said < SAY_EVERY and self._said >= 0:
            return
        self._said = passed
        rate = done / passed if passed > 0 else 0.0
        rows = f"{done:,} rows" if total is None else f"{done:,} of {total:,} rows"
        pace = f", {rate:,.0f} rows/s" if rate else ""
        left = f", {duration((total - done) / rate)} left" if rate and total is not None else ""
        self._show(f"{rows}{pace}{left}")


class Pace:
    """Shows how fast bytes are written, at most five times a second."""

    def __init__(self, show: Callable[[str], None], clock: Callable[[], float] = time.monotonic):
        self._show, self._clock = show, clock
        self._start = clock()
        self._said = -1.0

    def __call__(self, done: int, total: int) -> None:
        passed = self._clock() - self._start
        if 0 <= passed - self._said < SAY_EVERY and self._said >= 0:
            return
        self._said = passed
        rate = done / passed if passed > 0 else 0.0
        pace = f", {size(int(rate))}/s, {duration((total - done) / rate)} left" if rate else ""
        self._show(f"writing {size(done)} of {size(total)}{pace}")
