"""Where a file can be written, and what the user is told where it cannot."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import pytest

from hugectr2onnx.backend.saving.writable import (
    existing_folder,
    make_folder,
    output_errors,
    place_to_write,
    writable_path,
)
from hugectr2onnx.errors import OutputError, ParityError


def test_a_new_file_in_a_folder_that_is_there(tmp_path: Path) -> None:
    assert writable_path(tmp_path / "m.onnx") == tmp_path / "m.onnx"
    assert not (tmp_path / "m.onnx").exists()


def test_a_link_is_followed(tmp_path: Path) -> None:
    (tmp_path / "real").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "real")
    assert writable_path(tmp_path / "link" / "m.onnx") == tmp_path / "real" / "m.onnx"


def test_a_missing_folder_is_to_be_created_first(tmp_path: Path) -> None:
    with pytest.raises(
        OutputError, match=r"cannot write .*m\.onnx: No such file or directory; create the folder first"
    ):
        writable_path(tmp_path / "missing" / "m.onnx")


def test_a_folder_is_not_a_file(tmp_path: Path) -> None:
    with pytest.raises(OutputError, match="Is a directory; give the path of a file, not of a folder"):
        writable_path(tmp_path)


@pytest.mark.skipif(os.name != "posix", reason="/dev/null is POSIX's")
def test_a_device_would_be_destroyed() -> None:
    with pytest.raises(OutputError, match="/dev/null: it is not a regular file; choose another path"):
        writable_path("/dev/null")


@pytest.mark.parametrize("path", [None, 3, b"\0"])
def test_what_is_not_a_path(path: object) -> None:
    with pytest.raises((OutputError, TypeError), match=r"the file to write|null byte"):
        writable_path(path)  # type: ignore[arg-type]


def test_a_place_whose_folders_are_still_to_be_made(tmp_path: Path) -> None:
    place = place_to_write(tmp_path / "wdl" / "1" / "model.onnx")
    assert place == tmp_path / "wdl" / "1" / "model.onnx"
    assert os.listdir(tmp_path) == []
    make_folder(place)
    assert place.parent.is_dir()


def test_a_place_under_a_file(tmp_path: Path) -> None:
    (tmp_path / "notes").write_text("text")
    with pytest.raises(OutputError, match=r"notes.* is not a folder; choose another path"):
        place_to_write(tmp_path / "notes" / "m.onnx")


def test_a_place_in_a_folder_that_may_not_be_written_to(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "access", lambda *_: False)
    with pytest.raises(OutputError, match="you may not write to its folder; choose another folder"):
        place_to_write(tmp_path / "m.onnx")


def test_the_nearest_folder_that_is_there(tmp_path: Path) -> None:
    assert existing_folder(tmp_path / "a" / "b" / "m.onnx") == tmp_path


@pytest.mark.parametrize(
    ("code", "advice"),
    [
        (errno.ENOSPC, "No space left on device; free space on the disk, or choose another one"),
        (errno.EACCES, "Permission denied; choose a folder that you may write to, or change its permissions"),
        (errno.EMFILE, r"Too many open files; raise the number of files that may be open \(ulimit -n\)"),
        (errno.EIO, "Input/output error; choose another path"),
    ],
)
def test_an_error_of_the_system_comes_with_advice(code: int, advice: str) -> None:
    with pytest.raises(OutputError, match=f"cannot write m.onnx: {advice}$"), output_errors("m.onnx"):
        raise OSError(code, os.strerror(code))


def test_an_error_of_our_own_passes_through() -> None:
    with pytest.raises(ParityError, match=r"^as it is$"), output_errors("m.onnx"):
        raise ParityError("as it is")
