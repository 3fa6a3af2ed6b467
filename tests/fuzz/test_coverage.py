"""The targets that are guided by coverage: what they begin with is read, and a missing atheris is named."""

from __future__ import annotations

import importlib
from pathlib import Path
from typing import Any

import pytest

from fuzz import coverage
from fuzz.targets import judged


@pytest.mark.parametrize("name", coverage.TARGETS)
def test_seeds_and_damaged_ones_are_answered(name: str, tmp_path: Path) -> None:
    target = coverage.TARGETS[name]
    seeds = target.seeds()
    assert seeds
    for data in (*seeds, seeds[0][:7], b"", b"\xff" * 41):
        assert judged(lambda data=data: target.read(data, tmp_path)) in ("accepted", "refused")


@pytest.mark.parametrize("name", ["json", "graph", "onnx"])
def test_seeds_reach_the_end_of_the_reader(name: str, tmp_path: Path) -> None:
    target = coverage.TARGETS[name]
    assert {judged(lambda data=data: target.read(data, tmp_path)) for data in target.seeds()} == {"accepted"}


def test_without_atheris_the_extra_is_named(monkeypatch: pytest.MonkeyPatch, capsys: Any) -> None:
    def missing(name: str) -> Any:
        raise ImportError(name)

    monkeypatch.setattr(importlib, "import_module", missing)
    assert coverage.main(["--target", "json"]) == 2
    assert "pip install 'hugectr2onnx[fuzz]'" in capsys.readouterr().err
