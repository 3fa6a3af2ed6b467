"""Short forms of `tests.crash.processes`, with real processes."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest

from tests.crash import processes

pytestmark = pytest.mark.skipif(
    os.name != "posix" or sys.version_info >= (3, 12), reason="forks a process with threads"
)


def test_saves_that_are_killed_at_random(tmp_path: Path) -> None:
    assert sum(processes.kills(tmp_path, 20).values()) == 20


def test_two_writers_and_a_reader(tmp_path: Path) -> None:
    found = processes.writers(tmp_path, 3)
    assert (found["saves"], found["refused saves"], found["failed openings"]) == (12, 0, 0)


def test_sources_that_become_shorter(tmp_path: Path) -> None:
    found = processes.shrinking(tmp_path, 12)
    assert set(found) <= {"saved", "error of ours"}
