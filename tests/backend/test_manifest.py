"""manifest.json: one for all models of a folder, and never at the cost of somebody else's file."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from hugectr2onnx.backend.manifest import FileRecord, write_manifest
from hugectr2onnx.errors import OutputError

FILE = FileRecord("a.onnx", 3, "abc")


def test_an_entry(tmp_path: Path) -> None:
    path = write_manifest(tmp_path / "a.onnx", [FILE], {"parity": None})
    assert path == tmp_path / "manifest.json"
    assert json.loads(path.read_text()) == {
        "format": "hugectr2onnx manifest 1",
        "models": {"a.onnx": {"files": [{"name": "a.onnx", "bytes": 3, "sha256": "abc"}], "parity": None}},
    }


def test_other_models_stay_and_the_same_is_replaced(tmp_path: Path) -> None:
    for name, fact in (("b.onnx", 1), ("a.onnx", 1), ("b.onnx", 2)):
        path = write_manifest(tmp_path / name, [], {"fact": fact})
    assert {name: entry["fact"] for name, entry in json.loads(path.read_text())["models"].items()} == {
        "a.onnx": 1,
        "b.onnx": 2,
    }


@pytest.mark.parametrize("content", ["", "{}", "[1]", '{"format": "other", "models": {}}', "[" * 100_000])
def test_somebody_elses_manifest_is_left_alone(tmp_path: Path, content: str) -> None:
    (tmp_path / "manifest.json").write_text(content)
    assert write_manifest(tmp_path / "a.onnx", [FILE], {}) == tmp_path / "a.onnx.manifest.json"
    assert (tmp_path / "manifest.json").read_text() == content


def test_a_manifest_that_cannot_be_read(tmp_path: Path) -> None:
    (tmp_path / "manifest.json").mkdir()
    with pytest.raises(OutputError, match="Cannot read"):
        write_manifest(tmp_path / "a.onnx", [FILE], {})
