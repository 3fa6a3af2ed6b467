"""The record of a save: what a later one may conclude and remove."""

from __future__ import annotations

import fcntl
import json
import os
import time
from pathlib import Path
from typing import Any

import pytest

from hugectr2onnx.backend.saving import save_record
from hugectr2onnx.backend.saving.save_record import (
    MAX_SILENCE,
    OwnedFile,
    SaveRecord,
    first_line,
    identity,
    may_live,
    read_records,
    record_path,
)

TOKEN = "0123456789abcdef"
DATA = "m.onnx.00112233aabbccdd.data"


def written(folder: Path, *facts: Any) -> SaveRecord | None:
    """The record that is read from a file of these lines."""
    path = record_path(folder, TOKEN)
    path.write_bytes(b"".join(json.dumps(fact).encode() + b"\n" for fact in facts))
    return next(iter(read_records(folder)), None)


def owned(path: Path) -> dict[str, Any]:
    status = path.stat()
    return {"name": path.name, "bytes": status.st_size, "changed": status.st_mtime_ns}


def ready(folder: Path, **changes: Any) -> dict[str, Any]:
    """A complete save of a model with one data file."""
    for name in ("m.onnx", DATA):
        (folder / name).write_bytes(b"12345")
    beside = [owned(folder / DATA)]
    return {"ready": {"model": owned(folder / "m.onnx"), "beside": beside, "manifested": True, "entry": {}, **changes}}


def test_the_first_line_names_the_files_before_they_are_made(tmp_path: Path) -> None:
    record = written(tmp_path, first_line("m.onnx", 2))
    assert record is not None
    assert (record.target, record.token, record.ready) == ("m.onnx", TOKEN, None)
    assert [path.name for path in record.new_files] == [f".hugectr2onnx-{TOKEN}.{number}.new" for number in (0, 1)]


def test_a_complete_save_owns_its_files_as_long_as_nobody_changes_them(tmp_path: Path) -> None:
    record = written(tmp_path, first_line("m.onnx", 1), ready(tmp_path))
    assert record is not None
    assert [file.name for file in record.beside] == [DATA]
    assert record.is_current and record.waits_for_manifest
    (tmp_path / DATA).write_bytes(b"another program's")
    assert record.beside == []


def test_a_link_in_the_place_of_a_file_is_not_owned(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"1")
    file = OwnedFile.of(tmp_path / "a")
    (tmp_path / "a").rename(tmp_path / "b")
    (tmp_path / "a").symlink_to("b")
    assert not file.stands_in(tmp_path)


def test_a_line_that_never_reached_the_disk_whole_is_left_out(tmp_path: Path) -> None:
    written(tmp_path, first_line("m.onnx", 1))
    with open(record_path(tmp_path, TOKEN), "ab") as file:
        file.write(b'{"done": tr')
    (record,) = read_records(tmp_path)
    assert not record.is_done


def test_facts_are_appended(tmp_path: Path) -> None:
    record = written(tmp_path, first_line("m.onnx", 1), ready(tmp_path))
    assert record is not None
    record.mark_superseded()
    record.mark_done()
    (found,) = read_records(tmp_path)
    assert found.is_done and not found.waits_for_manifest
    assert found.superseded == pytest.approx(time.time(), abs=60)


@pytest.mark.parametrize("name", ["../other", "other.onnx", "m.onnx", "m.onnx.short.data", "m.onnx.00112233aabbccdd"])
def test_a_record_that_names_files_of_others_is_not_believed(name: str, tmp_path: Path) -> None:
    beside = [{"name": name, "bytes": 1, "changed": 1}]
    assert written(tmp_path, first_line("m.onnx", 1), ready(tmp_path, beside=beside)) is None


def test_a_record_of_another_user_is_not_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert written(tmp_path, first_line("m.onnx", 1)) is not None
    monkeypatch.setattr(os, "geteuid", lambda: os.getuid() + 1)
    assert read_records(tmp_path) == []


def test_other_files_and_folders_are_no_records(tmp_path: Path) -> None:
    (tmp_path / ".hugectr2onnx-short.save").write_text("x")
    record_path(tmp_path, TOKEN).mkdir()
    assert read_records(tmp_path) == []


def test_a_writer_lives_while_it_holds_the_lock_of_its_record(tmp_path: Path) -> None:
    record = written(tmp_path, first_line("m.onnx", 1))
    assert record is not None
    with open(record.path, "rb") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        assert record.is_alive()
    assert not record.is_alive()


def test_without_locks_a_writer_lives_if_its_process_is_the_one_that_began_then() -> None:
    assert may_live(identity(), time.time())
    assert not may_live(identity() | {"started": "1"}, time.time())
    assert not may_live(identity() | {"boot": "an earlier one"}, time.time())


def test_a_writer_on_another_machine_lives_until_it_was_silent_for_a_day() -> None:
    other = identity() | {"host": "elsewhere"}
    assert may_live(other, time.time() - MAX_SILENCE + 60)
    assert not may_live(other, time.time() - MAX_SILENCE - 60)


def test_a_file_system_without_locks_cannot_tell(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(save_record, "fcntl", None)
    assert save_record.holds_lock(tmp_path / "any") is None
