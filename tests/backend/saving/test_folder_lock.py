"""One save at a time in a folder."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from hugectr2onnx.backend.saving import folder_lock as module
from hugectr2onnx.backend.saving.folder_lock import folder_lock
from hugectr2onnx.errors import OutputError


def is_free(folder: Path) -> bool:
    """Whether another open file of the folder can be locked."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        return True
    except BlockingIOError:
        return False
    finally:
        os.close(descriptor)


@pytest.fixture
def held(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A folder that somebody else has locked, and no patience."""
    monkeypatch.setattr(module, "MAX_WAIT", 0.0)
    descriptor = os.open(tmp_path, os.O_RDONLY)
    fcntl.flock(descriptor, fcntl.LOCK_EX)
    yield tmp_path
    os.close(descriptor)


def test_the_lock_is_held_while_the_block_runs_and_given_back(tmp_path: Path) -> None:
    with folder_lock(tmp_path):
        assert not is_free(tmp_path)
    assert is_free(tmp_path)


def test_the_lock_is_given_back_after_an_error(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="the save failed"), folder_lock(tmp_path):
        raise ValueError("the save failed")
    assert is_free(tmp_path)


def test_a_folder_that_stays_locked_is_an_error_that_names_the_holder(held: Path) -> None:
    process = rf"process {os.getpid()} \(.+\)"
    refusal = pytest.raises(OutputError, match=rf"{process} has held a lock on this folder .*wait until it ends")
    with refusal, folder_lock(held):
        pytest.fail("two saves at once")


def test_work_that_can_do_without_the_lock_goes_on(held: Path) -> None:
    done = []
    with folder_lock(held, required=False):
        done.append(True)
    assert done == [True]


def test_a_folder_that_cannot_be_opened_has_no_lock_to_wait_for(tmp_path: Path) -> None:
    with folder_lock(tmp_path / "none"):
        assert not (tmp_path / "none").exists()
