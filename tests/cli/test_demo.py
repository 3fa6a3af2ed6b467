"""`hugectr2onnx demo`."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from hugectr2onnx.backend.runtime import sessions
from hugectr2onnx.cli import timing


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(timing, "MOST_ROUNDS", 1)
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))


def test_it_tells_a_story_and_keeps_nothing(run: Any, tmp_path: Path) -> None:
    result = run("demo")
    assert (result.code, result.err) == (0, "")
    for part in (
        "300,000 rows",
        "Checked",
        "level 0",
        "level 2",
        "latency, batch 64",
        "Predictions for 5 rows",
        "Try next",
    ):
        assert part in result.out
    assert list(tmp_path.glob("hugectr2onnx-demo*")) == []


def test_data(run: Any) -> None:
    data = run("demo", "--json").json
    naive, optimised = data["levels"]
    assert optimised["nodes"] < naive["nodes"]
    assert set(naive["latency_ms"]) == {"1", "64"}
    assert len(data["predictions"]) == 5
    assert all(0 < prediction < 1 for prediction in data["predictions"])


def test_what_it_keeps_can_be_used(run: Any, tmp_path: Path) -> None:
    folder = tmp_path / "kept"
    assert run("demo", "--folder", folder).code == 0
    assert {"wdl.json", "wdl_O0.onnx", "wdl_O2.onnx"} <= {path.name for path in folder.iterdir()}
    session = sessions.open_session(folder / "wdl_O2.onnx")
    shapes = {each.name: each.shape[1:] for each in session.get_inputs()}
    feeds = {name: np.zeros((2, *shape), np.float32 if name == "dense" else np.int64) for name, shape in shapes.items()}
    assert sessions.run(session, feeds)["label"].shape == (2, 1)


def test_a_second_time_overwrites_nothing(run: Any, tmp_path: Path) -> None:
    (tmp_path / "wdl.json").write_text("mine")
    assert run("demo", "--folder", tmp_path).code == 3
    assert (tmp_path / "wdl.json").read_text() == "mine"


def test_an_interrupt_leaves_nothing_behind(run: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(timing, "medians", interrupt)
    assert run("demo", "--folder", tmp_path / "kept").code == 130
    assert run("demo").code == 130
    assert list(tmp_path.iterdir()) == []
