"""`hugectr2onnx manifest`."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest

QUICK = ("--no-simplify", "--no-check", "--external-data")


@pytest.fixture
def folder(model: Any, run: Any, tmp_path: Path) -> Path:
    """One model with a data file and a manifest."""
    (tmp_path / "out").mkdir()
    assert run("compile", *model.arguments, "-o", tmp_path / "out" / "m.onnx", *QUICK).code == 0
    return tmp_path / "out"


def test_a_folder_that_is_as_its_manifest_says(folder: Path, run: Any) -> None:
    result = run("manifest", folder, "--json")
    assert (result.code, result.json["models"], result.json["problems"]) == (0, ["m.onnx"], [])
    assert {file["name"] for file in result.json["files"]} == {path.name for path in folder.glob("m.onnx*")}


def test_a_file_that_was_changed(folder: Path, run: Any) -> None:
    (data,) = folder.glob("m.onnx.*.data")
    content = data.read_bytes()
    data.write_bytes(bytes([content[0] ^ 1]) + content[1:])
    result = run("manifest", folder, "--verify")
    assert (result.code, f"{data.name}: has another SHA-256 than the manifest says" in result.err) == (3, True)


def test_a_manifest_that_was_lost_is_written_anew(folder: Path, run: Any) -> None:
    before = (folder / "manifest.json").read_bytes()
    (folder / "manifest.json").unlink()
    assert "has files beside it and no entry in the manifest" in run("manifest", folder).err
    assert run("manifest", folder, "--rebuild").code == 0
    assert (folder / "manifest.json").read_bytes() == before


def test_records_that_were_lost_are_written_anew(folder: Path, run: Any) -> None:
    for path in folder.glob(".hugectr2onnx-*"):
        path.unlink()
    (folder / "manifest.json").unlink()
    assert run("manifest", folder, "--rebuild").code == 0
    (folder / "m.onnx").unlink()
    assert run("manifest", folder, "--clean", "--json").json["removed"]


def test_data_of_a_replaced_model_go_at_once(folder: Path, model: Any, run: Any) -> None:
    (data,) = folder.glob("m.onnx.*.data")
    assert run("compile", *model.arguments, "-o", folder / "m.onnx", "--no-simplify", "--no-check").code == 0
    assert run("manifest", folder, "--json").json["kept"] == [data.name]
    assert run("manifest", folder, "--clean", "--json").json["removed"] == [data.name]
    assert os.listdir(folder) == ["m.onnx"]


def test_what_is_not_a_folder(model: Any, run: Any) -> None:
    result = run("manifest", model.graph)
    assert (result.code, "is not a folder: give the folder that holds the models" in result.err) == (3, True)


def test_two_verbs_at_once_are_wrong_usage(folder: Path, run: Any) -> None:
    assert run("manifest", folder, "--verify", "--clean").code == 2
