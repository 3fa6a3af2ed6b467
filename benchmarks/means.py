"""Geometric means over the models."""

from __future__ import annotations

from collections.abc import Sequence

from benchmarks.records import CandidateLine, Line, MeanLine
from hugectr2onnx.latency.figures import geometric_mean


def over_models(lines: Sequence[Line]) -> list[MeanLine]:
    """Take the geometric mean of each candidate's ratio to level 0, for every thread count and batch."""
    groups: dict[tuple[str, int, int], list[float]] = {}
    for line in lines:
        if isinstance(line, CandidateLine):
            key = line.candidate, line.case.threads, line.case.batch
            groups.setdefault(key, []).append(line.ratio.median)
    return [
        MeanLine(candidate, batch, threads, len(ratios), geometric_mean(ratios))
        for (candidate, threads, batch), ratios in sorted(groups.items())
    ]
