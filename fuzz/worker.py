"""The process that reads damaged files: one case a line on standard input, one answer a line on standard output.

A line in is `["draw", target, seed, number]` or `["replay", path]`; a line out is an `Answer` as JSON. The process is
expendable: the supervisor ends it where a case hangs, and starts another where one kills it.
"""

from __future__ import annotations

import json
import os
import resource
import sys
import time
import traceback
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from random import Random
from typing import Any

from fuzz.cases import Case
from fuzz.targets import TARGETS

MAX_ADDRESS_SPACE = 3 << 30
"""Bytes beyond what the process has reserved when it starts."""
MAX_MEMORY = 1 << 30
"""Bytes that a case of a few kB may take at its peak."""


@dataclass(frozen=True)
class Answer:
    """What became of a case: accepted, refused, or a failure with its traceback."""

    outcome: str
    failure: str = ""
    trace: str = ""
    seconds: float = 0.0


def case_of(target: str, seed: int, number: int, scratch: Path) -> Case:
    """The case of a number: the same wherever and whenever it is drawn."""
    return TARGETS[target].draw(Random(f"{target}/{seed}/{number}"), scratch)


def attack(case: Case, folder: Path) -> Answer:
    """Write the files, run the target, and judge what it did and took."""
    case.write(folder)
    before = _reset_peak()
    start = time.process_time()
    outcome, failure, trace = "", "", ""
    try:
        outcome = TARGETS[case.target].attack(case, folder)
    except Exception as error:  # everything that gets here is a finding
        failure, trace = f"{type(error).__name__}: {str(error)[:300]}", traceback.format_exc()[-6000:]
    grown = _peak() - before
    if not failure and grown > MAX_MEMORY:
        failure = f"memory: {grown >> 20} MB at the peak"
    return Answer("failed" if failure else outcome, failure, trace, round(time.process_time() - start, 3))


def main(folder: Path) -> None:
    """Answer lines until the input ends. Files lie in `folder`/case, for the supervisor to look at."""
    answers = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)  # prints of libraries go elsewhere
    limit = _reserved() + MAX_ADDRESS_SPACE
    resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
    for line in sys.stdin:
        answer = attack(_case(json.loads(line), folder), folder / "case")
        answers.write(json.dumps(asdict(answer)) + "\n")
        answers.flush()


def _case(command: list[Any], folder: Path) -> Case:
    if command[0] == "replay":
        return Case.load(Path(command[1]))
    return case_of(command[1], command[2], command[3], folder / "scratch")


def _reserved() -> int:
    return int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()


def _reset_peak() -> int:
    """Have the system measure the peak of memory anew; returns what is in use."""
    with suppress(OSError):
        Path("/proc/self/clear_refs").write_text("5")
    return _peak()


def _peak() -> int:
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith("VmHWM"):
            return int(line.split()[1]) << 10
    return 0


if __name__ == "__main__":
    main(Path(sys.argv[1]))
