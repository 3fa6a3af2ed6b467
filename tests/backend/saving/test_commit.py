"""The commit of a save: what is renamed, what is left as it is, and what goes again where it fails."""

from __future__ import annotations

import errno
import hashlib
import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from hugectr2onnx.backend.saving.commit import Commit, NewFile
from hugectr2onnx.backend.saving.layout import beside
from hugectr2onnx.backend.saving.manifest import MANIFEST_NAME, FileRecord, entries
from hugectr2onnx.backend.saving.save_record import read_records
from hugectr2onnx.backend.saving.unfinished_save import UnfinishedSave
from hugectr2onnx.errors import OutputError

DATA, MODEL, MANIFEST = 0, 1, 2


@pytest.fixture
def saving(tmp_path: Path) -> Iterator[UnfinishedSave]:
    with UnfinishedSave(tmp_path / "m.onnx", 3) as unfinished:
        yield unfinished


def new_file(saving: UnfinishedSave, number: int, content: bytes, suffix: str = ".data") -> NewFile:
    saving.write_new(number, content)
    return NewFile(number, suffix, len(content), hashlib.sha256(content).hexdigest())


def record(saving: UnfinishedSave, content: bytes) -> FileRecord:
    saving.write_new(MODEL, content)
    return FileRecord("m.onnx", len(content), hashlib.sha256(content).hexdigest())


def data_place(saving: UnfinishedSave, commit: Commit) -> Path:
    return beside(saving.target, commit.content_id, ".data")


def test_data_model_and_manifest_get_their_names(saving: UnfinishedSave, tmp_path: Path) -> None:
    commit = Commit(saving, [new_file(saving, DATA, b"rows")], 1, hashed=True)
    told = commit.run(record(saving, b"model"), MODEL, {"value": 1})
    data = data_place(saving, commit)
    assert [file.name for file in told] == [data.name, "m.onnx"]
    assert (data.read_bytes(), (tmp_path / "m.onnx").read_bytes()) == (b"rows", b"model")
    entry = entries(tmp_path)["m.onnx"]
    assert entry["value"] == 1
    assert [file["name"] for file in entry["files"]] == [data.name, "m.onnx"]


def test_data_of_the_same_content_stay_as_they_are(saving: UnfinishedSave) -> None:
    file = new_file(saving, DATA, b"rows")
    place = data_place(saving, Commit(saving, [file], 1, hashed=True))
    place.write_bytes(b"rows")
    before = place.stat().st_ino
    commit = Commit(saving, [file], 1, hashed=True)
    commit.run(record(saving, b"model"), MODEL, None)
    assert data_place(saving, commit) == place
    assert place.stat().st_ino == before


@pytest.mark.parametrize("content", [b"else", b"of another length"])
def test_a_name_that_holds_something_else_is_not_taken(content: bytes, saving: UnfinishedSave) -> None:
    file = new_file(saving, DATA, b"rows")
    place = data_place(saving, Commit(saving, [file], 1, hashed=True))
    place.write_bytes(content)
    commit = Commit(saving, [file], 1, hashed=True)
    commit.run(record(saving, b"model"), MODEL, None)
    assert data_place(saving, commit) != place
    assert place.read_bytes() == content


def test_a_file_that_takes_the_name_at_the_last_moment(saving: UnfinishedSave, tmp_path: Path) -> None:
    commit = Commit(saving, [new_file(saving, DATA, b"rows")], 1, hashed=True)
    data_place(saving, commit).write_bytes(b"somebody's")
    with pytest.raises(OutputError, match="another program has just made a file of this name; save again"):
        commit.run(record(saving, b"model"), MODEL, None)
    assert data_place(saving, commit).read_bytes() == b"somebody's"
    assert not (tmp_path / "m.onnx").exists()


def test_where_the_model_cannot_be_renamed_its_data_go_again(
    saving: UnfinishedSave, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "m.onnx").write_bytes(b"old")
    replace = os.replace

    def fail(source: Path, target: Path) -> None:
        if Path(target).name == "m.onnx":
            raise OSError(errno.EIO, "Input/output error")
        replace(source, target)

    monkeypatch.setattr(os, "replace", fail)
    commit = Commit(saving, [new_file(saving, DATA, b"rows")], 1, hashed=True)
    with pytest.raises(OSError, match="Input/output error"):
        commit.run(record(saving, b"new"), MODEL, None)
    assert (tmp_path / "m.onnx").read_bytes() == b"old"
    assert not data_place(saving, commit).exists()
    assert not saving.keeps_record


def test_a_manifest_that_cannot_be_written_can_be_rebuilt(
    saving: UnfinishedSave, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    replace = os.replace

    def fail(source: Path, target: Path) -> None:
        if Path(target).name == MANIFEST_NAME:
            raise OSError(errno.EIO, "Input/output error")
        replace(source, target)

    monkeypatch.setattr(os, "replace", fail)
    commit = Commit(saving, [], 0, hashed=True)
    with pytest.raises(
        OutputError, match=r"m\.onnx is complete, but its manifest .* run `hugectr2onnx manifest .*--rebuild`"
    ):
        commit.run(record(saving, b"model"), MODEL, {"value": 1})
    assert (tmp_path / "m.onnx").read_bytes() == b"model"


def test_the_record_lists_the_data_as_ours(saving: UnfinishedSave, tmp_path: Path) -> None:
    commit = Commit(saving, [new_file(saving, DATA, b"rows")], 1, hashed=True)
    commit.run(record(saving, b"model"), MODEL, None)
    (kept,) = read_records(tmp_path)
    assert [file.name for file in kept.beside] == [data_place(saving, commit).name]
    assert saving.keeps_record


def test_an_inline_model_needs_no_record_afterwards(saving: UnfinishedSave) -> None:
    Commit(saving, [], 0, hashed=True).run(record(saving, b"model"), MODEL, None)
    assert not saving.keeps_record
