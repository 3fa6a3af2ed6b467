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


@pytest.mark.parametrize("format", ["parquet", "norm", "raw"])
def test_a_data_set_can_be_scored_as_the_verb_says(run: Any, tmp_path: Path, format: str) -> None:
    pytest.importorskip("pyarrow")
    folder = tmp_path / "new"
    result = run("sample", "wdl", folder, "--rows", 3000, "--dataset", format)
    assert result.code == 0, result.err
    assert run("compile", folder / "wdl.json", "--weights", folder, "-o", tmp_path / "wdl.onnx").code == 0
    (line,) = [line for line in result.out.splitlines() if line.startswith("then: ")]
    flags = line.split()[4:]
    scores = run("evaluate", tmp_path / "wdl.onnx", *flags, "--json")
    assert scores.code == 0, scores.err
    # The labels are drawn from the model's own logits: about 0.83 for logits of a standard deviation of 1.5.
    assert 0.75 < scores.json["label"]["auc"] < 0.9


def test_several_formats_have_a_folder_each(run: Any, tmp_path: Path) -> None:
    pytest.importorskip("pyarrow")
    assert run("sample", "wdl", tmp_path, "--rows", 100, "--dataset", "parquet,norm,raw").code == 0
    for format in ("parquet", "norm", "raw"):
        assert (tmp_path / format / "val" / "_file_list.txt").exists()
    assert (tmp_path / "parquet" / "train" / "_metadata.json").exists()


def test_rows_are_samples_where_there_is_a_data_set(run: Any, tmp_path: Path) -> None:
    run("sample", "wdl", tmp_path, "--rows", 50, "--table-rows", 12, "--dataset", "raw")
    assert (tmp_path / "wdl0_sparse_0.model" / "key").stat().st_size == 12 * 8
    record = 4 * (1 + 13) + 8 * 28  # label and dense values of 4 bytes, keys of 8
    sizes = [path.stat().st_size for path in tmp_path.glob("*/*.data")]
    assert sum(sizes) == 50 * record


def test_a_format_that_cannot_hold_the_model_leaves_nothing_behind(run: Any, tmp_path: Path) -> None:
    result = run("sample", "dcn", tmp_path / "folder", "--dataset", "norm,raw", "--rows", 100)
    assert result.code == 4
    assert "dcn has slots of several keys, which Raw files cannot hold; choose parquet" in result.err
    assert not (tmp_path / "folder").exists()


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (["--dataset", "tfrecord"], "there is no format 'tfrecord'; there are parquet, norm, raw"),
        (["--rows", "5", "--table-rows", "5"], "--rows and --table-rows are the same without --dataset"),
    ],
)
def test_flags_that_make_no_data_set(flags: list[str], message: str, run: Any, tmp_path: Path) -> None:
    result = run("sample", "wdl", tmp_path / "folder", *flags)
    assert result.code == 2
    assert message in " ".join(result.err.split())
