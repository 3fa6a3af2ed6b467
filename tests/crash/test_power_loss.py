"""A crash before any call that changes the folder, with everything or only what was synced on the disk."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from hugectr2onnx.backend.saving import folder as folder_module
from hugectr2onnx.backend.saving import tidy
from tests.crash.file_system import Recorder, put
from tests.crash.promise import LAYOUTS, Layout, assert_promise, make, value_of

INLINE, EXTERNAL, SHARDS = (Layout(kind, False, False) for kind in ("inline", "external", "shards"))
ALL = [Layout(kind, True, True) for kind in ("inline", "external", "shards")]
SOME = [(None, ALL[1]), (INLINE, EXTERNAL), (EXTERNAL, INLINE), (SHARDS, EXTERNAL), (ALL[1], ALL[2]), (ALL[2], ALL[0])]


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """The checks need no disk."""
    monkeypatch.setattr(os, "fsync", lambda descriptor: None)


@pytest.fixture
def scratch(tmp_path: Path) -> Iterator[Path]:
    """A folder in memory, where there is one."""
    memory = Path("/dev/shm")
    with tempfile.TemporaryDirectory(dir=memory if memory.is_dir() else tmp_path) as folder:
        yield Path(folder)


def record(folder: Path, code: Callable[[], Any]) -> Recorder:
    recorder = Recorder(folder)
    recorder.run(code)
    return recorder


def check(recorder: Recorder, place: Path, old: int | None, new: int) -> set[int | None]:
    """Every state that a crash may leave keeps the promise; which models were found."""
    found = set()
    for number, state in enumerate(recorder.states):
        put(state, place / str(number))
        following = LAYOUTS[number % len(LAYOUTS)]
        found.add(assert_promise(place / str(number), old, new, following))
    return found


def pairs() -> Iterator[Any]:
    for old in (None, *LAYOUTS):
        for new in LAYOUTS:
            marks = [] if (old, new) in SOME else [pytest.mark.slow]
            yield pytest.param(old, new, marks=marks, id=f"{old or 'nothing'} to {new}")


@pytest.mark.parametrize(("old", "new"), list(pairs()))
def test_a_save(scratch: Path, old: Layout | None, new: Layout) -> None:
    make(scratch / "folder", old, 1)
    recorder = record(scratch / "folder", lambda: new.save(scratch / "folder", 2))
    assert value_of(scratch / "folder") == 2
    assert check(recorder, scratch, 1 if old else None, 2) == {1 if old else None, 2}


@pytest.mark.parametrize("layout", [EXTERNAL, *ALL], ids=str)
def test_a_save_that_removes_the_data_of_an_older_model(
    scratch: Path, layout: Layout, monkeypatch: pytest.MonkeyPatch
) -> None:
    make(scratch / "folder", layout, 1)
    layout.save(scratch / "folder", 2)
    monkeypatch.setattr(tidy.tidy, "__kwdefaults__", {"grace": 0.0, "kept": ()})
    recorder = record(scratch / "folder", lambda: layout.save(scratch / "folder", 3))
    assert any(call.startswith("unlink m.onnx.") for call in recorder.calls) or layout.kind == "inline"
    check(recorder, scratch, 2, 3)


@pytest.mark.parametrize("layout", [EXTERNAL, *ALL], ids=str)
@pytest.mark.parametrize("verb", ["clean_folder", "rebuild_manifest"])
def test_putting_a_folder_in_order(scratch: Path, layout: Layout, verb: str) -> None:
    make(scratch / "folder", layout, 1)
    layout.save(scratch / "folder", 2)
    recorder = record(scratch / "folder", lambda: getattr(folder_module, verb)(scratch / "folder"))
    check(recorder, scratch, 2, 2)


@pytest.mark.parametrize("layout", ALL, ids=str)
def test_the_same_model_again(scratch: Path, layout: Layout) -> None:
    make(scratch / "folder", layout, 1)
    recorder = record(scratch / "folder", lambda: layout.save(scratch / "folder", 1))
    check(recorder, scratch, 1, 1)


@pytest.mark.slow
@pytest.mark.parametrize("layout", ALL, ids=str)
def test_a_save_after_a_save_that_died(scratch: Path, layout: Layout) -> None:
    """The second one removes what the first one left, and dies too."""
    make(scratch / "folder", layout, 1)
    first = record(scratch / "folder", lambda: layout.save(scratch / "folder", 2))
    for number, state in enumerate(first.states[:: max(1, len(first.states) // 4)]):
        place = scratch / f"died-{number}"
        put(state, place)
        stands = value_of(place)
        second = record(place, partial(layout.save, place, 3))
        (scratch / f"checks-{number}").mkdir()
        check(second, scratch / f"checks-{number}", stands, 3)
