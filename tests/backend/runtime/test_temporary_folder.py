"""Temporary folders: removed by their owner, or by the next process where the owner was killed."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from hugectr2onnx.backend.runtime.temporary_folder import FOLDER_PREFIX, OWNER, TemporaryFolder, sweep

pytestmark = pytest.mark.skipif(os.name != "posix", reason="locks are POSIX's")
HOLD = """
from hugectr2onnx.backend.runtime.temporary_folder import TemporaryFolder
folder = TemporaryFolder()
(folder.path / "model.onnx").write_bytes(b"model")
print(folder.path, flush=True)
input()
"""


@pytest.fixture(autouse=True)
def base(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    return tmp_path


@pytest.fixture
def other(base: Path) -> Iterator[subprocess.Popen[str]]:
    """Another process, which holds a folder of its own."""
    process = subprocess.Popen(
        [sys.executable, "-c", HOLD],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env=os.environ | {"TMPDIR": str(base)},
    )
    yield process
    process.kill()
    process.communicate()


def folder_of(process: subprocess.Popen[str]) -> Path:
    assert process.stdout is not None
    return Path(process.stdout.readline().strip())


def plant(base: Path, owner: str) -> Path:
    """Put a folder of such a name there, with this text as its owner."""
    folder = base / f"{FOLDER_PREFIX}planted"
    folder.mkdir()
    (folder / OWNER).write_text(owner)
    return folder


def test_it_goes_at_the_end_of_the_block(base: Path) -> None:
    with TemporaryFolder() as folder:
        (folder.path / "model.onnx").write_bytes(b"model")
        assert folder.path.parent == base
    assert os.listdir(base) == []


def test_it_goes_when_nobody_holds_it(base: Path) -> None:
    folder = TemporaryFolder()
    del folder
    assert os.listdir(base) == []


def test_the_folder_of_a_killed_process_goes(base: Path, other: subprocess.Popen[str]) -> None:
    folder = folder_of(other)
    other.send_signal(signal.SIGKILL)
    other.wait()
    assert (folder / "model.onnx").exists()
    sweep(base)
    assert not folder.exists()


def test_the_folder_of_a_living_process_stays(base: Path, other: subprocess.Popen[str]) -> None:
    folder = folder_of(other)
    sweep(base)
    assert (folder / "model.onnx").read_bytes() == b"model"


def test_files_that_we_do_not_write_stay_with_their_folder(base: Path) -> None:
    with TemporaryFolder() as folder:
        (folder.path / "notes.txt").write_text("somebody's")
    assert (folder.path / "notes.txt").read_text() == "somebody's"


@pytest.mark.parametrize(
    "owner",
    ["", "no JSON", "[]", "[" * 4000, json.dumps({"format": "another"}), " " * 5000],
    ids=["empty", "text", "list", "deep", "format", "long"],
)
def test_a_folder_of_somebody_else_stays(base: Path, owner: str) -> None:
    folder = plant(base, owner)
    sweep(base)
    assert (folder / OWNER).read_text() == owner


def test_a_link_to_a_folder_stays(base: Path, tmp_path_factory: pytest.TempPathFactory) -> None:
    target = tmp_path_factory.mktemp("target")
    (base / f"{FOLDER_PREFIX}link").symlink_to(target)
    sweep(base)
    assert target.is_dir()
    assert (base / f"{FOLDER_PREFIX}link").is_symlink()


def test_a_base_that_cannot_be_read_is_left_alone(base: Path) -> None:
    sweep(base / "missing")
