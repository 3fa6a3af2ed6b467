"""A folder of models beside its manifest: verify, rebuild, clean."""

from __future__ import annotations

import hashlib
import json
import os
from pathlib import Path

import pytest

from hugectr2onnx.backend.saving.folder import clean_folder, rebuild_manifest, verify_manifest
from hugectr2onnx.backend.saving.manifest import MANIFEST_NAME
from hugectr2onnx.backend.saving.save import save
from hugectr2onnx.backend.saving.save_record import read_records
from hugectr2onnx.errors import OutputError
from tests.backend.saving.models import model_of, run_file


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Two models with data beside them, and an entry in the manifest for each."""
    for name, value in (("a.onnx", 1), ("b.onnx", 2)):
        save(model_of(value), tmp_path / name, external=True, checksums=True, facts=lambda: {"options": {}})
    return tmp_path


def data_of(folder: Path, model: str) -> Path:
    return next(path for path in folder.iterdir() if path.name.startswith(f"{model}.") and path.suffix == ".data")


def test_a_folder_that_is_as_its_manifest_says(folder: Path) -> None:
    report = verify_manifest(folder)
    assert report.models == ("a.onnx", "b.onnx")
    assert report.problems == ()
    assert {file.name: file.sha256 for file in report.files} == {
        path.name: hashlib.sha256(path.read_bytes()).hexdigest()
        for path in folder.iterdir()
        if path.name.startswith(("a.", "b."))
    }


def test_a_data_file_that_somebody_changed(folder: Path) -> None:
    data = data_of(folder, "a.onnx")
    data.write_bytes(bytes(data.stat().st_size))
    assert verify_manifest(folder).problems == (f"{data.name}: has another SHA-256 than the manifest says",)


def test_a_data_file_of_another_size(folder: Path) -> None:
    data = data_of(folder, "a.onnx")
    size = data.stat().st_size
    data.write_bytes(data.read_bytes() + b"more")
    (problem,) = verify_manifest(folder).problems
    assert problem == f"{data.name}: has {size + 4:,} bytes, the manifest says {size}"


def test_a_data_file_that_is_missing(folder: Path) -> None:
    data_of(folder, "a.onnx").unlink()
    (problem,) = verify_manifest(folder).problems
    assert data_of(folder, "b.onnx").name not in problem
    assert "a.onnx" in problem


def test_a_model_without_an_entry_and_an_entry_without_a_model(folder: Path) -> None:
    stated = json.loads((folder / MANIFEST_NAME).read_text())
    text = json.dumps(stated).replace('"a.onnx"', '"gone.onnx"', 1)
    (folder / MANIFEST_NAME).write_text(text)
    problems = verify_manifest(folder).problems
    assert "gone.onnx: is in the manifest and not in the folder" in problems
    assert "a.onnx: has files beside it and no entry in the manifest" in problems


def test_rebuilding_makes_every_entry_true(folder: Path) -> None:
    (folder / MANIFEST_NAME).unlink()
    (folder / "b.onnx").unlink()
    report = rebuild_manifest(folder)
    assert (report.models, report.problems) == (("a.onnx",), ())
    assert verify_manifest(folder).problems == ()


def test_rebuilding_keeps_what_the_record_knows_of_the_sources(folder: Path) -> None:
    before = json.loads((folder / MANIFEST_NAME).read_text())
    (folder / MANIFEST_NAME).unlink()
    rebuild_manifest(folder)
    assert json.loads((folder / MANIFEST_NAME).read_text()) == before


def test_rebuilding_adopts_data_whose_record_was_lost(folder: Path) -> None:
    for record in read_records(folder):
        record.path.unlink()
    rebuild_manifest(folder)
    data = data_of(folder, "a.onnx")
    save(model_of(3), folder / "a.onnx")
    clean_folder(folder)
    assert not data.exists()


def test_cleaning_removes_the_data_of_replaced_models_alone(folder: Path) -> None:
    old = data_of(folder, "a.onnx")
    (folder / "a.onnx.notes.data").write_bytes(b"somebody's")
    save(model_of(3), folder / "a.onnx")
    assert clean_folder(folder) == (old.name,)
    assert (folder / "a.onnx.notes.data").read_bytes() == b"somebody's"
    assert (run_file(folder / "a.onnx"), run_file(folder / "b.onnx")) == (3, 2)


def test_a_folder_without_models(tmp_path: Path) -> None:
    (tmp_path / "notes.onnx").write_text("no model")
    report = rebuild_manifest(tmp_path)
    assert (report.models, report.problems, clean_folder(tmp_path)) == ((), (), ())
    assert os.listdir(tmp_path) == ["notes.onnx"]


def test_a_file_is_not_a_folder(tmp_path: Path) -> None:
    (tmp_path / "m.onnx").write_bytes(b"")
    for call in (verify_manifest, rebuild_manifest, clean_folder):
        with pytest.raises(OutputError, match=r"m\.onnx: is not a folder: give the folder that holds the models"):
            call(tmp_path / "m.onnx")
