"""Files appear whole or not at all, and every failure is an error of ours."""

from __future__ import annotations

import errno
import os
import stat
from pathlib import Path

import pytest

from hugectr2onnx.backend.saving.replace_file import replace_file
from hugectr2onnx.errors import OutputError

needs_posix = pytest.mark.skipif(os.name != "posix", reason="permissions and special files are POSIX's")


def write(path: Path, content: bytes) -> None:
    replace_file(path, content, is_own=lambda head: head.startswith(b"own"))


def test_a_new_file_appears_with_its_content(tmp_path: Path) -> None:
    write(tmp_path / "a.json", b"new")
    assert (tmp_path / "a.json").read_bytes() == b"new"
    assert os.listdir(tmp_path) == ["a.json"]


def test_a_file_of_ours_is_replaced(tmp_path: Path) -> None:
    (tmp_path / "a.json").write_bytes(b"own")
    write(tmp_path / "a.json", b"own, new")
    assert (tmp_path / "a.json").read_bytes() == b"own, new"


def test_a_file_of_somebody_else_is_replaced_only_with_force(tmp_path: Path) -> None:
    (tmp_path / "a.json").write_bytes(b"precious")
    with pytest.raises(OutputError, match=r"a\.json: it is there already and not a file of ours"):
        write(tmp_path / "a.json", b"new")
    assert (tmp_path / "a.json").read_bytes() == b"precious"
    replace_file(tmp_path / "a.json", b"new", is_own=lambda head: False, force=True)
    assert (tmp_path / "a.json").read_bytes() == b"new"


@pytest.mark.parametrize("call", ["write", "fsync", "replace"])
@pytest.mark.parametrize("error", [RuntimeError, KeyboardInterrupt, GeneratorExit])
def test_an_exception_leaves_the_old_file_and_no_other(
    tmp_path: Path, error: type[BaseException], call: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*given: object) -> None:
        raise error

    (tmp_path / "a.json").write_bytes(b"own")
    monkeypatch.setattr(os, call, fail)
    with pytest.raises(error):
        write(tmp_path / "a.json", b"half")
    assert (tmp_path / "a.json").read_bytes() == b"own"
    assert os.listdir(tmp_path) == ["a.json"]


def test_a_full_disk_while_syncing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(descriptor: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    write(tmp_path / "a.json", b"own")
    monkeypatch.setattr(os, "fsync", fail)
    with pytest.raises(OutputError, match="No space left"):
        write(tmp_path / "a.json", b"new")
    assert (tmp_path / "a.json").read_bytes() == b"own"


def test_a_folder_that_does_not_exist(tmp_path: Path) -> None:
    with pytest.raises(OutputError, match="create the folder first"):
        write(tmp_path / "missing" / "a.json", b"")


def test_a_target_that_is_a_folder(tmp_path: Path) -> None:
    with pytest.raises(OutputError, match="path of a file, not of a folder"):
        write(tmp_path, b"")


def test_a_folder_that_is_a_file(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(OutputError, match="cannot write"):
        write(tmp_path / "file" / "a.json", b"")


@pytest.mark.parametrize("name", ["", "a\0b", "x" * 300])
def test_names_that_no_file_can_have(tmp_path: Path, name: str) -> None:
    with pytest.raises(OutputError, match="cannot write"):
        write(Path(os.path.join(tmp_path, name)), b"")


@needs_posix
def test_a_folder_without_permission(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tmp_path.chmod(0o500)
    if os.access(tmp_path, os.W_OK):

        def refuse(*args: object) -> None:
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))

        monkeypatch.setattr(os, "open", refuse)  # root may write anywhere
    with pytest.raises(OutputError, match=r"Permission denied; choose a folder that you may write to"):
        write(tmp_path / "a.json", b"")
    tmp_path.chmod(0o700)


@needs_posix
def test_a_device_is_not_replaced() -> None:
    with pytest.raises(OutputError, match="not a regular file"):
        write(Path("/dev/null"), b"gone")
    assert stat.S_ISCHR(os.stat("/dev/null").st_mode)


@needs_posix
def test_a_symbolic_link_is_followed(tmp_path: Path) -> None:
    (tmp_path / "real").write_bytes(b"own")
    (tmp_path / "link").symlink_to("real")
    write(tmp_path / "link", b"new")
    assert (tmp_path / "real").read_bytes() == b"new"
    assert (tmp_path / "link").is_symlink()


@needs_posix
def test_the_mode_is_that_of_an_ordinary_file_or_of_the_old_one(tmp_path: Path) -> None:
    (tmp_path / "ordinary").touch()
    (tmp_path / "old").write_bytes(b"own")
    (tmp_path / "old").chmod(0o640)
    write(tmp_path / "new", b"")
    write(tmp_path / "old", b"")
    assert (tmp_path / "new").stat().st_mode == (tmp_path / "ordinary").stat().st_mode
    assert stat.S_IMODE((tmp_path / "old").stat().st_mode) == 0o640
