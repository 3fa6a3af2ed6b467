"""Folders, tables and dense files, told without a graph."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from hugectr2onnx.cli import main
from hugectr2onnx.errors import WeightsError
from hugectr2onnx.inspection.weight_files import inspect_dense, inspect_folder, inspect_table, is_table


def write_table(folder: Path, keys: list[int], floats: int, slot_ids: bool = False) -> Path:
    folder.mkdir(parents=True)
    np.array(keys, "<i8").tofile(folder / "key")
    np.zeros(floats, "<f4").tofile(folder / "emb_vector")
    if slot_ids:
        np.zeros(len(keys), "<u8").tofile(folder / "slot_id")
    return folder


def test_a_table(tmp_path: Path) -> None:
    table = write_table(tmp_path / "m0_sparse_7.model", [5, -1, 9], 12, slot_ids=True)
    found = inspect_table(table)
    assert is_table(table)
    assert (found.rows, found.width, found.smallest_key, found.largest_key) == (3, 4, -1, 9)
    assert found.has_slot_ids


def test_an_empty_table_tells_no_width(tmp_path: Path) -> None:
    found = inspect_table(write_table(tmp_path / "t", [], 0))
    assert (found.rows, found.width, found.smallest_key, found.has_slot_ids) == (0, None, None, False)


@pytest.mark.parametrize(("keys", "floats"), [([1, 2, 3], 10), ([], 4)])
def test_vectors_that_do_not_fit_the_keys(keys: list[int], floats: int, tmp_path: Path) -> None:
    with pytest.raises(WeightsError, match=f"has {len(keys)} keys and {floats} floats of vectors, no multiple"):
        inspect_table(write_table(tmp_path / "t", keys, floats))


def test_a_dense_file(tmp_path: Path) -> None:
    np.array([0.5, -2, np.nan, np.inf], "<f4").tofile(tmp_path / "d.model")
    found = inspect_dense(tmp_path / "d.model")
    assert (found.bytes, found.floats, found.not_finite, found.smallest, found.largest) == (16, 4, 2, -2.0, 0.5)


def test_a_dense_file_of_no_whole_floats(tmp_path: Path) -> None:
    (tmp_path / "d.model").write_bytes(b"12345")
    with pytest.raises(WeightsError, match="has 5 bytes, no multiple of 4"):
        inspect_dense(tmp_path / "d.model")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Iteration 0 whole, of iteration 5 the second table is missing."""
    place = tmp_path / "snapshots"
    for number, tables in ((0, (0, 1)), (5, (1,))):
        for table in tables:
            write_table(place / f"wdl{table}_sparse_{number}.model", [1], 4)
        (place / f"wdl_dense_{number}.model").write_bytes(b"1234")
    (place / "wdl_dense_0.model.ntp.json").write_text("{}")
    (place / "wdl.json").write_text(json.dumps({"layers": [{}, {}]}))
    (place / "other.json").write_text("[1]")
    (place / "broken.json").write_text("{")
    (place / "notes.txt").write_text("")
    return place


def test_a_folder_lists_its_graphs_and_snapshots(folder: Path) -> None:
    found = inspect_folder(folder)
    assert found.graphs == {"wdl.json": 2}
    whole, broken = found.snapshots
    assert (whole.prefix, whole.iteration, whole.dense) == ("wdl", 0, "wdl_dense_0.model")
    assert (whole.tables, whole.statistics) == (
        ("wdl0_sparse_0.model", "wdl1_sparse_0.model"),
        "wdl_dense_0.model.ntp.json",
    )
    assert whole.problem is None
    assert broken.problem is not None
    assert "wdl0_sparse_5.model is missing" in broken.problem


def test_the_verb_says_how_to_go_on(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["inspect", str(folder)]) == 0
    said = capsys.readouterr().out
    assert "1 graph JSON, 2 snapshots" in said
    assert f"next: hugectr2onnx check {folder}/wdl.json --weights {folder}" in said
    assert "warning: " in said


def test_the_verb_on_a_table_and_a_dense_file(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["inspect", str(folder / "wdl0_sparse_0.model")]) == 0
    assert "1 rows of width 4 (16 B), keys 1 to 1" in capsys.readouterr().out
    assert main(["inspect", str(folder / "wdl_dense_0.model"), "--json"]) == 0
    data: dict[str, Any] = json.loads(capsys.readouterr().out)
    assert data["floats"] == 1
