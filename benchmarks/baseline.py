"""Comparing with an earlier run: ratios to level 0 and never absolute times, which depend on the machine."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from benchmarks.errors import BenchmarkError

Key = tuple[object, ...]
_KEYS = ("model", "scale", "batch", "threads", "candidate")


@dataclass(frozen=True)
class Change:
    """One candidate of one case, then and now, as ratios to level 0."""

    key: Key
    before: float
    after: float

    def slower(self, tolerance: float) -> bool:
        return self.after < self.before * (1 - tolerance)

    def __str__(self) -> str:
        model, scale, batch, threads, candidate = self.key
        where = f"{model} ({scale}), batch {batch}, threads {threads}, {candidate}"
        return f"{where}: {self.after:.2f}x level 0, {self.before:.2f}x in the baseline"


def parse_tolerance(text: str) -> float:
    """`5%` or `0.05`; raises BenchmarkError for anything but a share from 0 to 1."""
    try:
        share = float(text[:-1]) / 100 if text.endswith("%") else float(text)
    except ValueError as error:
        raise BenchmarkError(f"--fail-if-slower {text}: expected a percentage like 5%.") from error
    if not 0 <= share < 1:
        raise BenchmarkError(f"--fail-if-slower {text}: expected from 0% to below 100%.")
    return share


def compare(before: Iterable[Mapping[str, Any]], after: Iterable[Mapping[str, Any]]) -> list[Change]:
    """The changes of all that both have measured; raises BenchmarkError where that is nothing.

    Level 0 itself is left out: its ratio is 1.
    """
    then, now = _ratios(before), _ratios(after)
    common = [key for key in now if key in then]
    if not common:
        raise BenchmarkError("The baseline and this run have no case in common: measure the same models and batches.")
    return [Change(key, then[key], now[key]) for key in common]


def slower_ones(changes: Sequence[Change], tolerance: float) -> list[Change]:
    return [change for change in changes if change.slower(tolerance)]


def _ratios(entries: Iterable[Mapping[str, Any]]) -> dict[Key, float]:
    found: dict[Key, float] = {}
    for entry in entries:
        if entry.get("kind") == "runtime" and entry.get("candidate") != "level 0":
            try:
                found[tuple(entry[key] for key in _KEYS)] = float(entry["ratio"]["median"])
            except (KeyError, TypeError, ValueError) as error:
                raise BenchmarkError(f"A line of the baseline lacks its case or ratio: {entry}.") from error
    return found
