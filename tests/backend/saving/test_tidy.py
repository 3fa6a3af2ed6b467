"""What a folder loses when it is put in order, and everything that it keeps."""

from __future__ import annotations

import fcntl
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from hugectr2onnx.backend.saving import tidy
from hugectr2onnx.backend.saving.folder import clean_folder, tidy_folder
from hugectr2onnx.backend.saving.save import save
from hugectr2onnx.backend.saving.save_record import read_records, record_path
from tests.backend.saving.models import model_of, run_file

pytestmark = pytest.mark.skipif(os.name != "posix", reason="locks are POSIX's")
TOKEN = "0123456789abcdef"


def save_outside(path: Path, value: float, **options: Any) -> str:
    """Save a model of this answer; returns the name of its data file."""
    records = save(model_of(value), path, external=True, **options)
    return records[0].name


def names(folder: Path) -> list[str]:
    return sorted(os.listdir(folder))


def plant(folder: Path, *lines: dict[str, Any], token: str = TOKEN) -> Path:
    """Put a record into a folder, as a save writes it or anybody else."""
    path = record_path(folder, token)
    path.write_text("".join(f"{json.dumps(line)}\n" for line in lines))
    return path


def first(target: str = "m", new: int = 0) -> dict[str, Any]:
    return {"format": "hugectr2onnx save 1", "target": target, "new": new, "writer": {}}


def ready(*files: str, folder: Path) -> dict[str, Any]:
    def described(name: str) -> dict[str, Any]:
        status = (folder / name).lstat()
        return {"name": name, "bytes": status.st_size, "changed": status.st_mtime_ns}

    model = {"name": "m", "bytes": 1, "changed": 1}
    return {"ready": {"model": model, "beside": [*map(described, files)], "manifested": False, "entry": None}}


class TestData:
    def test_of_a_model_that_was_replaced_stay_for_a_minute(self, tmp_path: Path) -> None:
        old = save_outside(tmp_path / "m", 1)
        new = save_outside(tmp_path / "m", 2)
        assert tidy_folder(tmp_path).kept == (old,)
        assert {old, new} < set(names(tmp_path))

    def test_of_a_model_that_was_replaced_go_with_the_next_save(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        old = save_outside(tmp_path / "m", 1)
        save_outside(tmp_path / "m", 2)
        later = tidy.time.time() + 61
        monkeypatch.setattr(tidy.time, "time", lambda: later)
        save_outside(tmp_path / "m", 3)
        assert old not in names(tmp_path)

    def test_of_a_model_that_was_removed_go(self, tmp_path: Path) -> None:
        save_outside(tmp_path / "m", 1)
        (tmp_path / "m").unlink()
        save(model_of(1), tmp_path / "other")
        assert names(tmp_path) == ["other"]

    def test_of_a_copy_of_the_model_stay(self, tmp_path: Path) -> None:
        save_outside(tmp_path / "m", 1)
        (tmp_path / "copy").write_bytes((tmp_path / "m").read_bytes())
        save(model_of(2), tmp_path / "m")
        clean_folder(tmp_path)
        assert run_file(tmp_path / "copy") == 1

    def test_of_a_model_that_was_renamed_stay(self, tmp_path: Path) -> None:
        save_outside(tmp_path / "m", 1)
        (tmp_path / "m").rename(tmp_path / "m-before")
        save_outside(tmp_path / "m", 2)
        clean_folder(tmp_path)
        assert (run_file(tmp_path / "m-before"), run_file(tmp_path / "m")) == (1, 2)

    def test_behind_a_model_that_nobody_can_read_stay(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        save_outside(tmp_path / "m", 1)
        (tmp_path / "m").rename(tmp_path / "secret")
        search = tidy._search

        def refuse(path: Path, needles: Any) -> Any:
            if path.name == "secret":
                raise PermissionError
            return search(path, needles)

        monkeypatch.setattr(tidy, "_search", refuse)
        assert clean_folder(tmp_path) == ()

    def test_that_somebody_changed_stay(self, tmp_path: Path) -> None:
        old = save_outside(tmp_path / "m", 1)
        (tmp_path / "m").unlink()
        (tmp_path / old).write_bytes(b"precious")
        assert clean_folder(tmp_path) == ()
        assert (tmp_path / old).read_bytes() == b"precious"

    def test_of_an_open_model_are_still_there_for_its_session(self, tmp_path: Path) -> None:
        from hugectr2onnx.backend.runtime.sessions import open_session

        save_outside(tmp_path / "m", 1)
        session = open_session(tmp_path / "m")
        save(model_of(2), tmp_path / "m")
        clean_folder(tmp_path)
        assert session.run(None, {"row": [0]})[0].tolist() == [[1.0] * 300]


class TestNewFiles:
    def test_of_a_dead_save_go(self, tmp_path: Path) -> None:
        plant(tmp_path, first(new=2))
        for number in (0, 1, 7):
            (tmp_path / f".hugectr2onnx-{TOKEN}.{number}.new").write_bytes(b"half")
        clean_folder(tmp_path)
        assert names(tmp_path) == [f".hugectr2onnx-{TOKEN}.7.new"]

    def test_of_a_save_that_runs_stay(self, tmp_path: Path) -> None:
        with open(plant(tmp_path, first(new=1)), "rb") as record:
            (tmp_path / f".hugectr2onnx-{TOKEN}.0.new").write_bytes(b"half")
            fcntl.flock(record, fcntl.LOCK_EX)
            before = names(tmp_path)
            clean_folder(tmp_path)
            assert names(tmp_path) == before

    @pytest.mark.parametrize("length", [0, 1, 20])
    def test_a_record_that_ends_in_its_first_line_goes(self, tmp_path: Path, length: int) -> None:
        record_path(tmp_path, TOKEN).write_bytes(b'{"format": "hugectr2onnx save 1", '[:length])
        clean_folder(tmp_path)
        assert names(tmp_path) == []

    def test_a_process_that_is_killed_leaves_nothing_behind_for_long(self, tmp_path: Path) -> None:
        code = (
            "import os, sys; from pathlib import Path; from tests.backend.saving.models import model_of;"
            "from hugectr2onnx.backend.saving.save import save;"
            "save(model_of(1), Path(sys.argv[1]), external=True, progress=lambda done, total: os._exit(9))"
        )
        assert subprocess.run([sys.executable, "-c", code, tmp_path / "m"], check=False).returncode == 9
        assert len(names(tmp_path)) == 2
        save(model_of(2), tmp_path / "m")
        assert names(tmp_path) == ["m"]


class TestFilesOfOthers:
    @pytest.mark.parametrize(
        "name", [".m.notes.new", ".m.0123abcd.new", ".m.0123abcd.old", "m.0123456789abcdef.data", "m.data", "notes"]
    )
    def test_of_any_name_stay(self, tmp_path: Path, name: str) -> None:
        (tmp_path / name).write_bytes(b"precious")
        save_outside(tmp_path / "m", 1)
        save(model_of(2), tmp_path / "m")
        clean_folder(tmp_path)
        assert names(tmp_path) == sorted([name, "m"])
        assert (tmp_path / name).read_bytes() == b"precious"

    @pytest.mark.parametrize(
        "name",
        ["important.txt", "m", "other.0123456789abcdef.data", "m.data", "m.0123456789ABCDEF.data", "m.0123.data"],
    )
    def test_that_a_planted_record_names_stay(self, tmp_path: Path, name: str) -> None:
        (tmp_path / name).write_bytes(b"precious")
        plant(tmp_path, first(), ready(name, folder=tmp_path))
        assert clean_folder(tmp_path) == ()
        assert (tmp_path / name).read_bytes() == b"precious"

    @pytest.mark.parametrize("name", ["../outside.0123456789abcdef.data", "/etc/passwd", ""])
    def test_elsewhere_are_out_of_reach(self, tmp_path: Path, name: str) -> None:
        (tmp_path / "folder").mkdir()
        (tmp_path / "outside.0123456789abcdef.data").write_bytes(b"precious")
        line = {"ready": {"model": {}, "beside": [{"name": name, "bytes": 8, "changed": 0}], "manifested": False}}
        plant(tmp_path / "folder", first("../outside"), line)
        assert clean_folder(tmp_path / "folder") == ()
        assert (tmp_path / "outside.0123456789abcdef.data").exists()

    def test_of_another_user_stay(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        old = save_outside(tmp_path / "m", 1)
        (tmp_path / "m").unlink()
        own = os.geteuid()
        monkeypatch.setattr(os, "geteuid", lambda: own + 1)
        assert clean_folder(tmp_path) == ()
        assert old in names(tmp_path)

    @pytest.mark.parametrize("content", ["", "{}", "[]", "notes", '{"format": "hugectr2onnx save 2"}\n', "[" * 99999])
    def test_a_record_that_is_none_is_left_alone(self, tmp_path: Path, content: str) -> None:
        path = record_path(tmp_path, TOKEN)
        path.write_text(content)
        clean_folder(tmp_path)
        assert path.exists() == bool(content)

    def test_a_link_a_folder_and_a_pipe_of_such_a_name_stay(self, tmp_path: Path) -> None:
        record_path(tmp_path, TOKEN).symlink_to("elsewhere")
        record_path(tmp_path, TOKEN[::-1]).mkdir()
        os.mkfifo(record_path(tmp_path, "0" * 16))
        before = names(tmp_path)
        save(model_of(1), tmp_path / "m")
        assert names(tmp_path) == sorted([*before, "m"])


def test_records_do_not_pile_up(tmp_path: Path) -> None:
    for _ in range(3):
        save_outside(tmp_path / "m", 1)
    tidy_folder(tmp_path)
    assert len(read_records(tmp_path)) == 1


def test_one_record_is_enough_for_files_that_several_list(tmp_path: Path) -> None:
    """A save that marked the model before it as superseded, and died before its commit."""
    for _ in range(2):
        save_outside(tmp_path / "m", 1)
    for record in read_records(tmp_path):
        record.mark_superseded()
    clean_folder(tmp_path)
    assert len(read_records(tmp_path)) == 1
    assert run_file(tmp_path / "m") == 1
