"""`hugectr2onnx update`."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest


@pytest.fixture
def new(model: Any, tmp_path: Path) -> Path:
    """The next snapshot of the tiny model: the row of key 5 went from 0.5 to 0.75."""
    folder = tmp_path / "next"
    shutil.copytree(model.folder, folder)
    np.array([1.0, -2.0, 0.75], np.float32).tofile(folder / model.table.name / "emb_vector")
    return folder


def test_it_tells_what_changed(model: Any, run: Any, new: Path, tmp_path: Path) -> None:
    old = tmp_path / "old.onnx"
    assert run("compile", *model.arguments, "-o", old).code == 0
    result = run("update", old, model.graph, "--weights", new, "-o", tmp_path / "new.onnx", "--json")
    assert result.code == 0, result.err
    (table,) = result.json["changes"]["tables"]
    counts = {name: table[name] for name in ("rows", "added", "removed", "moved", "max_moved")}
    assert counts == {"rows": 3, "added": 0, "removed": 0, "moved": 1, "max_moved": 0.25}
    text = run("update", old, model.graph, "--weights", new, "-o", tmp_path / "new.onnx").out
    assert "parity passed" in text
    assert "0 other constants" not in text


def test_the_weights_have_to_be_given(model: Any, run: Any, tmp_path: Path) -> None:
    result = run("update", tmp_path / "old.onnx", model.graph, "-o", tmp_path / "new.onnx")
    assert result.code == 2
    assert "give the weights" in result.err


def test_a_file_that_is_no_model_is_invalid_input(model: Any, run: Any, new: Path, tmp_path: Path) -> None:
    (tmp_path / "old.onnx").write_text("no model")
    result = run("update", tmp_path / "old.onnx", model.graph, "--weights", new, "-o", tmp_path / "new.onnx")
    assert result.code == 3
    assert "is not an ONNX file" in result.err
