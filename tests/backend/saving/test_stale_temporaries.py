"""What killed saves leave behind: gone after the next save to the same name, and nobody else's file with it."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from hugectr2onnx.backend.saving import stale_temporaries
from hugectr2onnx.backend.saving.atomic import atomic_files

pytestmark = pytest.mark.skipif(os.name != "posix", reason="without locks nobody knows whether a writer lives")

WRITE = """
import os, sys
from pathlib import Path
from hugectr2onnx.backend.saving.atomic import atomic_files

left = int(sys.argv[2])

def counted(call):
    def counting(*given, **named):
        global left
        if not left:
            os._exit(9)
        left -= 1
        return call(*given, **named)
    return counting

os.replace, Path.unlink = counted(os.replace), counted(Path.unlink)
folder = Path(sys.argv[1])
with atomic_files(folder / "m.data", folder / "m") as files:
    for file in files:
        file.write(b"new")
os._exit(0)
"""
"""Writes a pair, and dies without a last word at the given one of its steps."""


def contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def names(folder: Path) -> list[str]:
    return sorted(os.listdir(folder))


def save(target: Path) -> None:
    with atomic_files(target) as (file,):
        file.write(b"saved")


@pytest.fixture
def leave(tmp_path: Path) -> Callable[..., None]:
    """Write files of a killed save, by the names they stand for."""

    def write(kind: str, *names: str, token: str = "0123abcd") -> None:
        for name in names:
            (tmp_path / f".{name}.{token}.{kind}").write_bytes(f"{kind} {name}".encode())

    return write


def test_new_files_that_nobody_writes_any_more(tmp_path: Path, leave: Callable[..., None]) -> None:
    leave("new", "m", "m.data", "m.emb.keys")
    leave("new", "m", token="89abcdef")
    leave("new", "m.data", token="11111111")
    save(tmp_path / "m")
    assert names(tmp_path) == ["m"]


def test_a_save_that_still_runs_keeps_its_files(tmp_path: Path) -> None:
    with atomic_files(tmp_path / "m.data", tmp_path / "m") as files:
        save(tmp_path / "m")
        assert (tmp_path / "m").read_bytes() == b"saved"
        for file in files:
            file.write(b"later")
    assert contents(tmp_path) == {"m": b"later", "m.data": b"later"}


def test_a_new_file_that_is_cleared_before_its_lock_is_opened_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    hold, held = stale_temporaries.hold, []

    def late(file: object) -> int | None:
        held.append(file)
        if len(held) == 1:
            stale_temporaries.clear(tmp_path / "m")
        return hold(file)  # type: ignore[arg-type]

    monkeypatch.setattr(stale_temporaries, "hold", late)
    save(tmp_path / "m")
    assert len(held) == 2
    assert contents(tmp_path) == {"m": b"saved"}


@pytest.mark.parametrize(
    "name",
    [".m.notes.new", ".m.0123abcd.bak", ".m.0123ABCD.new", "m.0123abcd.new", ".n.0123abcd.new", ".m.data.0123abcd.old"],
)
def test_files_of_others_stay(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_bytes(b"precious")
    save(tmp_path / "m")
    assert names(tmp_path) == sorted([name, "m"])


def test_a_link_and_a_folder_of_such_a_name_stay(tmp_path: Path) -> None:
    (tmp_path / ".m.0123abcd.new").symlink_to("elsewhere")
    (tmp_path / ".m.89abcdef.old").mkdir()
    save(tmp_path / "m")
    assert names(tmp_path) == [".m.0123abcd.new", ".m.89abcdef.old", "m"]


def test_a_model_that_was_only_set_aside_comes_back(tmp_path: Path, leave: Callable[..., None]) -> None:
    """The new data stood already when the process died."""
    leave("old", "m", "m.data")
    leave("new", "m")
    (tmp_path / "m.data").write_bytes(b"new m.data")
    with pytest.raises(RuntimeError), atomic_files(tmp_path / "m"):
        raise RuntimeError
    assert contents(tmp_path) == {"m": b"old m", "m.data": b"old m.data"}


def test_old_files_go_where_the_new_model_stands(tmp_path: Path, leave: Callable[..., None]) -> None:
    leave("old", "m", "m.data")
    for name in ("m", "m.data"):
        (tmp_path / name).write_bytes(b"new")
    stale_temporaries.clear(tmp_path / "m")
    assert contents(tmp_path) == {"m": b"new", "m.data": b"new"}


def test_an_old_model_stays_aside_where_somebody_put_another(tmp_path: Path, leave: Callable[..., None]) -> None:
    leave("old", "m")
    leave("new", "m")
    (tmp_path / "m").write_bytes(b"by hand")
    before = contents(tmp_path)
    stale_temporaries.clear(tmp_path / "m")
    assert contents(tmp_path) == before


def test_a_folder_that_is_missing(tmp_path: Path) -> None:
    stale_temporaries.clear(tmp_path / "missing" / "m")


@pytest.mark.parametrize("step", range(9))
def test_killed_at_any_step_the_pair_is_the_old_or_the_new(tmp_path: Path, step: int) -> None:
    for name in ("m", "m.data"):
        (tmp_path / name).write_bytes(b"old")
    code = subprocess.run([sys.executable, "-c", WRITE, tmp_path, str(step)], check=False).returncode
    stale_temporaries.clear(tmp_path / "m")
    found = contents(tmp_path)
    assert found in ({"m": b"old", "m.data": b"old"}, {"m": b"new", "m.data": b"new"})
    assert found["m"] == (b"old" if step < 4 else b"new")
    assert code == (9 if step < 8 else 0)
