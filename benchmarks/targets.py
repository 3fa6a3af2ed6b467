"""Targets of levels 2 and 3. A run lists those that it misses; nothing fails because of them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from benchmarks.means import over_models
from benchmarks.records import CandidateLine, Line

JUDGED = ("level 2", "level 3")
NOISE = 0.97
"""A ratio below this is a loss and no noise."""
OVERALL, OVERALL_BATCHES = 1.5, (1, 64, 1024)
FLOOR_BATCH = 64
"""From here on a call is judged by its multiple of the floor; at batch 1 by its distance."""
SMALL_NODES, SMALL_ABOVE_US = 30, 30.0
FLOOR_LIMITS = dict.fromkeys(
    ("wdl", "dcn", "dcnv2", "deepfm", "dlrm", "mmoe", "shared_bottom", "ncf", "neumf"), 1.2
) | dict.fromkeys(("din", "bst"), 2.0)


def shortfalls(lines: Sequence[Line]) -> list[str]:
    """A sentence for each target that is missed."""
    measured = [line for line in lines if isinstance(line, CandidateLine)]
    return [*_overall(lines), *(text for line in judged(lines) for text in _of_case(line, measured))]


def judged(lines: Sequence[Line]) -> list[CandidateLine]:
    """The measurements that the targets are about."""
    return [line for line in lines if isinstance(line, CandidateLine) and line.candidate in JUDGED]


def _overall(lines: Sequence[Line]) -> Iterator[str]:
    for mean in over_models(lines):
        if mean.threads == 1 and mean.batch in OVERALL_BATCHES and mean.candidate in JUDGED and mean.ratio < OVERALL:
            yield f"{mean.candidate}, batch {mean.batch}: {mean.ratio:.2f}x level 0 over all models, {OVERALL}x wanted"


def _of_case(line: CandidateLine, measured: Sequence[CandidateLine]) -> Iterator[str]:
    case = line.case
    where = f"{case.model}, batch {case.batch}, threads {case.threads}, {line.candidate}"
    for other in measured:
        if other.case == case and (other.candidate == "level 0" or not other.candidate.startswith("level ")):
            ratio = line.ratio.median / other.ratio.median
            if ratio < NOISE:
                yield f"{where}: {ratio:.2f}x {other.candidate}"
    limit = FLOOR_LIMITS.get(case.model)
    if limit and case.batch >= FLOOR_BATCH and line.of_floor.median > limit:
        yield f"{where}: {line.of_floor.median:.2f}x the floor, {limit}x wanted"
    if case.batch == 1 and line.nodes < SMALL_NODES and line.above_floor_us > SMALL_ABOVE_US:
        yield f"{where}: {line.above_floor_us:.0f} µs above the floor, {SMALL_ABOVE_US:.0f} wanted"
