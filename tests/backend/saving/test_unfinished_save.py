"""New files of a save, before they have their names."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import pytest

from hugectr2onnx.backend.saving.save_record import read_records
from hugectr2onnx.backend.saving.unfinished_save import UnfinishedSave, finish, sync_folder
from hugectr2onnx.errors import OutputError


def test_the_record_is_there_before_the_first_file(tmp_path: Path) -> None:
    with UnfinishedSave(tmp_path / "m.onnx", 2) as saving:
        assert [record.token for record in read_records(tmp_path)] == [saving.token]
        assert len(os.listdir(tmp_path)) == 1
        path = saving.write_new(1, b"content")
        assert path == saving.path(1)
        assert path.read_bytes() == b"content"


def test_what_was_not_renamed_goes_with_its_record(tmp_path: Path) -> None:
    with UnfinishedSave(tmp_path / "m.onnx", 2) as saving:
        saving.write_new(0, b"no longer needed")
        os.replace(saving.write_new(1, b"content"), tmp_path / "m.onnx")
    assert os.listdir(tmp_path) == ["m.onnx"]


def test_a_record_that_is_still_needed_stays(tmp_path: Path) -> None:
    with UnfinishedSave(tmp_path / "m.onnx", 0) as saving:
        saving.keeps_record = True
    assert [record.target for record in read_records(tmp_path)] == ["m.onnx"]


def test_an_exception_leaves_nothing(tmp_path: Path) -> None:
    with pytest.raises(KeyboardInterrupt), UnfinishedSave(tmp_path / "m.onnx", 1) as saving:
        saving.write_new(0, b"half")
        raise KeyboardInterrupt
    assert os.listdir(tmp_path) == []


def test_a_folder_that_is_missing(tmp_path: Path) -> None:
    with (
        pytest.raises(OutputError, match=r"cannot write .*m\.onnx: No such file or directory; create the folder first"),
        UnfinishedSave(tmp_path / "missing" / "m.onnx", 1),
    ):
        pass


def test_a_write_of_few_bytes_at_a_time_is_complete(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write = os.write
    with UnfinishedSave(tmp_path / "m.onnx", 1) as saving:
        monkeypatch.setattr(os, "write", lambda descriptor, content: write(descriptor, content[:3]))
        assert saving.write_new(0, b"0123456789").read_bytes() == b"0123456789"


def test_a_new_file_has_the_permissions_of_the_one_it_replaces(tmp_path: Path) -> None:
    target = tmp_path / "m.onnx"
    target.write_bytes(b"old")
    target.chmod(0o640)
    with UnfinishedSave(target, 1) as saving:
        assert saving.write_new(0, b"new").stat().st_mode & 0o777 == 0o640


def test_a_disk_that_fails_while_syncing_is_an_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(_: int) -> None:
        raise OSError(errno.EIO, "Input/output error")

    monkeypatch.setattr(os, "fsync", fail)
    with open(tmp_path / "m", "wb") as file, pytest.raises(OSError, match="Input/output error"):
        finish(file.fileno(), tmp_path / "m")
    with pytest.raises(OSError, match="Input/output error"):
        sync_folder(tmp_path)


def test_a_file_system_that_syncs_no_folder_is_none(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(_: int) -> None:
        raise OSError(errno.EINVAL, "Invalid argument")

    monkeypatch.setattr(os, "fsync", refuse)
    sync_folder(tmp_path)
