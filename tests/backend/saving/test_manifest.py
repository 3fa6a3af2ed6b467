"""manifest.json: one for all models of a folder, and never at the cost of somebody else's file."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest

from hugectr2onnx.backend.saving.manifest import Manifest
from hugectr2onnx.errors import OutputError

FILE = {"name": "a.onnx", "bytes": 3, "sha256": "abc"}


def enter(model: Path, entry: dict[str, Any] | None) -> Path | None:
    """What a save does."""
    manifest = Manifest.of(model, enters=entry is not None)
    if manifest.path is not None:
        manifest.path.write_bytes(manifest.text(entry))
    for path in manifest.emptied:
        path.unlink()
    return manifest.path


def test_an_entry(tmp_path: Path) -> None:
    path = enter(tmp_path / "a.onnx", {"files": [FILE], "parity": None})
    assert path == tmp_path / "manifest.json"
    assert json.loads(path.read_text()) == {
        "format": "hugectr2onnx manifest 1",
        "models": {"a.onnx": {"files": [{"name": "a.onnx", "bytes": 3, "sha256": "abc"}], "parity": None}},
    }


def test_other_models_stay_and_the_same_is_replaced(tmp_path: Path) -> None:
    for name, fact in (("b.onnx", 1), ("a.onnx", 1), ("b.onnx", 2)):
        path = enter(tmp_path / name, {"fact": fact})
    assert path is not None
    assert {name: entry["fact"] for name, entry in json.loads(path.read_text())["models"].items()} == {
        "a.onnx": 1,
        "b.onnx": 2,
    }


def test_a_model_without_an_entry_takes_its_old_one_out(tmp_path: Path) -> None:
    for name in ("a.onnx", "b.onnx"):
        enter(tmp_path / name, {})
    path = enter(tmp_path / "a.onnx", None)
    assert path is not None
    assert list(json.loads(path.read_text())["models"]) == ["b.onnx"]
    assert enter(tmp_path / "c.onnx", None) is None
    assert enter(tmp_path / "b.onnx", None) is None
    assert not path.exists()


@pytest.mark.parametrize("content", ["", "{}", "[1]", '{"format": "other", "models": {}}', "[" * 100_000])
def test_somebody_elses_manifest_is_left_alone(tmp_path: Path, content: str) -> None:
    (tmp_path / "manifest.json").write_text(content)
    assert enter(tmp_path / "a.onnx", {"files": [FILE]}) == tmp_path / "a.onnx.manifest.json"
    assert enter(tmp_path / "a.onnx", None) is None
    assert {path.name: path.read_text() for path in tmp_path.iterdir()} == {"manifest.json": content}


def test_an_entry_moves_to_the_folders_own_manifest(tmp_path: Path) -> None:
    (tmp_path / "manifest.json").write_text("somebody's")
    enter(tmp_path / "a.onnx", {})
    (tmp_path / "manifest.json").unlink()
    enter(tmp_path / "a.onnx", {})
    assert [path.name for path in tmp_path.iterdir()] == ["manifest.json"]


def test_no_place_for_an_entry(tmp_path: Path) -> None:
    for name in ("manifest.json", "a.onnx.manifest.json"):
        (tmp_path / name).write_text("somebody's")
    with pytest.raises(OutputError, match=r"a\.onnx\.manifest\.json: it is there already and not ours"):
        enter(tmp_path / "a.onnx", {})


def test_a_folder_or_a_pipe_of_that_name_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "manifest.json").mkdir()
    os.mkfifo(tmp_path / "b.onnx.manifest.json")
    assert enter(tmp_path / "a.onnx", {}) == tmp_path / "a.onnx.manifest.json"
    with pytest.raises(OutputError, match=r"b\.onnx\.manifest\.json: it is there already and not ours"):
        enter(tmp_path / "b.onnx", {})
