"""Whole model folders, damaged at random: each compiles and runs, or fails with an error that the damage deserves.

Errors that blame the compiler (CompilerError) or its result (ParityError) count as failures, and so do warnings of numpy.
The models and the changes are the fuzzer's; hypothesis shrinks what fails.
"""

from __future__ import annotations

import random
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from fuzz.cases import Case
from fuzz.models import GRAPH, MODELS, Files, model_files
from fuzz.targets import compile_and_run, damage, judged


@pytest.fixture(scope="module")
def originals(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Files]:
    return {name: model_files({"layers": layers}, tmp_path_factory.mktemp(name)) for name, layers in MODELS.items()}


@settings(
    derandomize=True,
    deadline=None,
    max_examples=500,
    database=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(source=st.randoms(use_true_random=False), name=st.sampled_from(sorted(MODELS)), level=st.sampled_from([0, 2]))
def test_a_damaged_folder(
    originals: dict[str, Files], tmp_path: Path, source: random.Random, name: str, level: int
) -> None:
    files = dict(originals[name])
    damage(source, files, tmp_path / "fitting")
    folder = Case("folders", files).write(tmp_path / "damaged")
    assert judged(lambda: compile_and_run(folder / GRAPH, folder, level)) in ("accepted", "refused")


@pytest.mark.parametrize("name", sorted(MODELS))
def test_the_folder_as_it_was_compiles(originals: dict[str, Files], tmp_path: Path, name: str) -> None:
    folder = Case("folders", originals[name]).write(tmp_path / "whole")
    assert judged(lambda: compile_and_run(folder / GRAPH, folder, 2)) == "accepted"
