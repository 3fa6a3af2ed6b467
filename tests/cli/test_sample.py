"""`hugectr2onnx sample`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest


def contents(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_a_sample_can_be_checked(run: Any, tmp_path: Path) -> None:
    folder = tmp_path / "new" / "folder"
    result = run("sample", "wdl", folder)
    assert (result.code, result.err) == (0, "")
    assert "next: hugectr2onnx compile" in result.out
    assert run("check", folder / "wdl.json", "--weights", folder).code == 0


def test_the_same_seed_gives_the_same_bytes(run: Any, tmp_path: Path) -> None:
    for name, seed in (("a", 1), ("b", 1), ("c", 2)):
        run("sample", "ncf", tmp_path / name, "--seed", seed)
    assert contents(tmp_path / "a") == contents(tmp_path / "b")
    assert contents(tmp_path / "a") != contents(tmp_path / "c")


def test_rows(run: Any, tmp_path: Path) -> None:
    run("sample", "wdl", tmp_path, "--rows", 12)
    assert (tmp_path / "wdl0_sparse_0.model" / "key").stat().st_size == 12 * 8


def test_an_empty_folder_will_do(run: Any, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    assert run("sample", "wdl", tmp_path / "empty").code == 0


@pytest.mark.parametrize("name", ["wdl.json", "wdl_dense_0.model", "wdl0_sparse_0.model/key", ".hidden"])
def test_a_folder_that_holds_anything_is_left_as_it_is(run: Any, tmp_path: Path, name: str) -> None:
    (tmp_path / name).parent.mkdir(exist_ok=True)
    (tmp_path / name).write_text("mine")
    result = run("sample", "wdl", tmp_path)
    assert result.code == 3
    assert "there are files in it; choose a folder that is empty or new" in result.err
    assert contents(tmp_path) == {name: b"mine"}


@pytest.mark.parametrize(
    "arguments", [["fly", "f"], ["wdl"], ["wdl", "f", "--rows", "0"], ["wdl", "f", "--scale", "big"]]
)
def test_wrong_usage(arguments: list[str], run: Any) -> None:
    assert run("sample", *arguments).code == 2


def test_an_unknown_name_lists_those_that_there_are(run: Any, tmp_path: Path) -> None:
    assert "wdl, dcn, dcnv2" in run("sample", "fly", tmp_path).err


def test_a_folder_that_cannot_be_made(run: Any, tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")
    assert run("sample", "wdl", tmp_path / "file").code == 3
    assert run("sample", "wdl", tmp_path / "file" / "folder").code == 3


def test_an_interrupt_leaves_nothing_behind(run: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupt(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("hugectr2onnx.sample_models.generate.generate_weights", interrupt)
    assert run("sample", "wdl", tmp_path / "folder").code == 130
    assert not (tmp_path / "folder").exists()
