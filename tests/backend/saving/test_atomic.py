"""Files appear whole or not at all, and every failure is an error of ours."""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Callable
from pathlib import Path

import pytest

from hugectr2onnx.backend.saving import atomic
from hugectr2onnx.backend.saving.atomic import atomic_files
from hugectr2onnx.errors import OutputError

needs_posix = pytest.mark.skipif(os.name != "posix", reason="permissions and special files are POSIX's")


def write(path: Path, content: bytes) -> None:
    with atomic_files(path) as (file,):
        file.write(content)


def write_pair(data: Path, model: Path, contents: tuple[bytes, bytes]) -> None:
    with atomic_files(data, model) as files:
        for file, content in zip(files, contents, strict=True):
            file.write(content)


def fail_replacing(monkeypatch: pytest.MonkeyPatch, fails: Callable[[str, str], bool]) -> None:
    real = os.replace

    def replace(source: str, target: str) -> None:
        if fails(os.fspath(source), os.fspath(target)):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        real(source, target)

    monkeypatch.setattr(os, "replace", replace)


def test_a_new_file_appears_with_its_content(tmp_path: Path) -> None:
    write(tmp_path / "a.onnx", b"new")
    assert (tmp_path / "a.onnx").read_bytes() == b"new"
    assert os.listdir(tmp_path) == ["a.onnx"]


def test_nothing_stands_at_the_target_while_writing(tmp_path: Path) -> None:
    with atomic_files(tmp_path / "a.onnx"):
        (name,) = os.listdir(tmp_path)
        assert name.startswith(".") and "a.onnx" in name


@pytest.mark.parametrize("error", [RuntimeError, KeyboardInterrupt, GeneratorExit])
def test_an_exception_leaves_the_old_file_and_no_other(tmp_path: Path, error: type[BaseException]) -> None:
    target = tmp_path / "a.onnx"
    target.write_bytes(b"old")
    with pytest.raises(error), atomic_files(target) as (file,):
        file.write(b"half")
        raise error
    assert target.read_bytes() == b"old"
    assert os.listdir(tmp_path) == ["a.onnx"]


def test_a_full_disk_while_writing(tmp_path: Path) -> None:
    with (
        pytest.raises(OutputError, match=r"a\.onnx: No space left on device\. Free space"),
        atomic_files(tmp_path / "a.onnx"),
    ):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
    assert os.listdir(tmp_path) == []


def test_a_full_disk_while_syncing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(descriptor: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    write(tmp_path / "a.onnx", b"old")
    monkeypatch.setattr(os, "fsync", fail)
    with pytest.raises(OutputError, match="No space left"):
        write(tmp_path / "a.onnx", b"new")
    assert (tmp_path / "a.onnx").read_bytes() == b"old"


def test_only_what_takes_the_place_of_a_file_is_flushed_to_the_disk(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    flushed: list[int] = []
    monkeypatch.setattr(os, "fsync", flushed.append)
    monkeypatch.setattr(atomic, "_sync_folder", lambda folder: None)
    write(tmp_path / "a.onnx", b"first")
    assert flushed == []
    write(tmp_path / "a.onnx", b"second")
    assert len(flushed) == 1


def test_a_folder_that_does_not_exist(tmp_path: Path) -> None:
    with pytest.raises(OutputError, match="Create the folder first"):
        write(tmp_path / "missing" / "a.onnx", b"")


def test_a_target_that_is_a_folder(tmp_path: Path) -> None:
    with pytest.raises(OutputError, match="path of a file, not of a folder"):
        write(tmp_path, b"")


def test_a_folder_that_is_a_file(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(OutputError, match="Cannot write"):
        write(tmp_path / "file" / "a.onnx", b"")


@pytest.mark.parametrize("name", ["", "a\0b", "x" * 300])
def test_names_that_no_file_can_have(tmp_path: Path, name: str) -> None:
    with pytest.raises(OutputError, match="Cannot write"):
        write(Path(os.path.join(tmp_path, name)), b"")


@needs_posix
def test_a_folder_without_permission(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tmp_path.chmod(0o500)
    if os.access(tmp_path, os.W_OK):

        def refuse(*args: object) -> None:
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))

        monkeypatch.setattr(atomic, "open", refuse, raising=False)  # root may write anywhere
    with pytest.raises(OutputError, match=r"Permission denied\. Choose a folder that you may write to"):
        write(tmp_path / "a.onnx", b"")
    tmp_path.chmod(0o700)


@needs_posix
def test_a_device_is_not_replaced() -> None:
    with pytest.raises(OutputError, match="not a regular file"):
        write(Path("/dev/null"), b"gone")
    assert stat.S_ISCHR(os.stat("/dev/null").st_mode)


@needs_posix
def test_a_symbolic_link_is_followed(tmp_path: Path) -> None:
    (tmp_path / "real").write_bytes(b"old")
    (tmp_path / "link").symlink_to("real")
    write(tmp_path / "link", b"new")
    assert (tmp_path / "real").read_bytes() == b"new"
    assert (tmp_path / "link").is_symlink()


@needs_posix
def test_the_mode_is_that_of_an_ordinary_file_or_of_the_old_one(tmp_path: Path) -> None:
    (tmp_path / "ordinary").touch()
    (tmp_path / "old").touch(0o640)
    (tmp_path / "old").chmod(0o640)
    write(tmp_path / "new", b"")
    write(tmp_path / "old", b"")
    assert (tmp_path / "new").stat().st_mode == (tmp_path / "ordinary").stat().st_mode
    assert stat.S_IMODE((tmp_path / "old").stat().st_mode) == 0o640


class TestPairs:
    @pytest.fixture
    def pair(self, tmp_path: Path) -> tuple[Path, Path]:
        data, model = tmp_path / "a.onnx.data", tmp_path / "a.onnx"
        data.write_bytes(b"old data")
        model.write_bytes(b"old model")
        return data, model

    def test_both_are_replaced(self, pair: tuple[Path, Path]) -> None:
        write_pair(*pair, (b"new data", b"new model"))
        assert [path.read_bytes() for path in pair] == [b"new data", b"new model"]
        assert len(os.listdir(pair[0].parent)) == 2

    @pytest.mark.parametrize("failing", ["a.onnx", "a.onnx.data"])
    def test_a_failure_while_replacing_brings_both_back(
        self, pair: tuple[Path, Path], failing: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        fail_replacing(monkeypatch, lambda source, target: source.endswith(".new") and Path(target).name == failing)
        with pytest.raises(OutputError):
            write_pair(*pair, (b"new data", b"new model"))
        assert [path.read_bytes() for path in pair] == [b"old data", b"old model"]
        assert len(os.listdir(pair[0].parent)) == 2

    def test_a_failure_while_setting_aside_brings_both_back(
        self, pair: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        fail_replacing(monkeypatch, lambda source, target: target.endswith(".old") and "data" in target)
        with pytest.raises(OutputError):
            write_pair(*pair, (b"new data", b"new model"))
        assert [path.read_bytes() for path in pair] == [b"old data", b"old model"]

    def test_at_no_moment_does_an_old_model_stand_beside_new_data(
        self, pair: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        data, model = pair
        moments: list[tuple[bytes | None, ...]] = []
        real = os.replace

        def replace(source: str, target: str) -> None:
            real(source, target)
            moments.append(tuple(path.read_bytes() if path.exists() else None for path in pair))

        monkeypatch.setattr(os, "replace", replace)
        write_pair(data, model, (b"new data", b"new model"))
        allowed = {b"old model": b"old data", b"new model": b"new data"}
        assert all(model is None or allowed[model] == data for data, model in moments)

    @pytest.mark.parametrize("failing", ["a.onnx", "manifest.json"])
    def test_a_failure_while_replacing_takes_back_what_was_not_there_before(
        self, pair: tuple[Path, Path], failing: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        data, model = pair
        fail_replacing(monkeypatch, lambda source, target: source.endswith(".new") and Path(target).name == failing)
        shard, index = data.with_name("a.onnx.data-1"), model.with_name("manifest.json")
        with pytest.raises(OutputError), atomic_files(shard, data, model, index=index):
            pass
        assert [path.read_bytes() for path in pair] == [b"old data", b"old model"]
        assert len(os.listdir(model.parent)) == 2

    def test_an_index_that_others_use_is_never_missing(
        self, pair: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        index = pair[0].with_name("manifest.json")
        index.write_bytes(b"of others too")
        moved: list[str] = []
        real = os.replace
        monkeypatch.setattr(os, "replace", lambda s, t: (moved.append(os.fspath(s)), real(s, t))[1])
        with atomic_files(*pair, index=index) as files:
            files[-1].write(b"new")
        assert str(index) not in moved
        assert "manifest.json" in moved[-1]
        assert index.read_bytes() == b"new"

    def test_two_files_of_one_name(self, tmp_path: Path) -> None:
        with (
            pytest.raises(OutputError, match="two files would have one name"),
            atomic_files(tmp_path / "a", tmp_path / "a"),
        ):
            pass
        assert os.listdir(tmp_path) == []

    def test_a_model_alone_is_replaced_in_one_step(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        model = tmp_path / "a.onnx"
        model.write_bytes(b"old")
        moves: list[str] = []
        real = os.replace
        monkeypatch.setattr(os, "replace", lambda s, t: (moves.append(os.fspath(t)), real(s, t))[1])
        write_pair(tmp_path / "a.onnx.data", model, (b"data", b"new"))
        assert moves == [str(tmp_path / "a.onnx.data"), str(model)]
