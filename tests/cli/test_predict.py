"""`predict`, `evaluate` and `table`: a data set in, predictions, metrics and rows out."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import hugectr2onnx
from hugectr2onnx.sample_models import write_sample
from hugectr2onnx.sample_models.data_sets import write_data_set

pytest.importorskip("pyarrow")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    place = tmp_path_factory.mktemp("ncf")
    sample = write_sample("ncf", place / "model")
    hugectr2onnx.compile(sample.graph, sample.weights, 0).save(place / "ncf.onnx")
    write_data_set(sample, place / "data", rows=400)
    return place


@pytest.fixture
def offsets(folder: Path) -> list[str]:
    file = folder / "data" / "slot_size_array.json"
    return ["--slot-size-array", str(file)] if file.exists() else []


def test_predictions_are_written_and_counted(
    folder: Path, offsets: list[str], tmp_path: Path, run: Callable[..., Any]
) -> None:
    done = run("predict", folder / "ncf.onnx", folder / "data" / "val", "-o", tmp_path / "a.csv", *offsets)
    assert done.code == 0
    assert "80 rows in" in done.out
    assert len((tmp_path / "a.csv").read_text().splitlines()) == 81


def test_metrics_are_data_by_label(folder: Path, offsets: list[str], run: Callable[..., Any]) -> None:
    done = run("evaluate", folder / "ncf.onnx", folder / "data" / "val" / "_file_list.txt", "--json", *offsets)
    (scores,) = json.loads(done.out).values()
    assert set(scores) == {"auc", "logloss", "normalized_entropy", "calibration", "accuracy", "average_precision"}
    assert 0.5 < scores["auc"] <= 1


def test_recorded_predictions_that_differ_are_exit_code_5(
    folder: Path, offsets: list[str], tmp_path: Path, run: Callable[..., Any]
) -> None:
    size = () if not offsets else json.loads(Path(offsets[1]).read_text())["slot_size_array"]
    columns = hugectr2onnx.predict(folder / "ncf.onnx", folder / "data" / "val", slot_size_array=size or None).columns
    recorded = columns["prediction"].copy()
    np.save(tmp_path / "same.npy", recorded)
    recorded[3] += 0.2
    np.save(tmp_path / "other.npy", recorded)
    arguments = ("predict", folder / "ncf.onnx", folder / "data" / "val", *offsets, "--against")
    assert run(*arguments, tmp_path / "same.npy").code == 0
    done = run(*arguments, tmp_path / "other.npy")
    assert done.code == 5
    assert "1 of 80 predictions differ, by 0.2 at most" in done.out


def test_data_that_does_not_fit_is_refused_before_anything_is_written(
    folder: Path, tmp_path: Path, run: Callable[..., Any]
) -> None:
    (tmp_path / "a.csv").write_text("x,y\n1,2\n")
    done = run("predict", folder / "ncf.onnx", tmp_path / "a.csv", "-o", tmp_path / "out.csv")
    assert done.code == 3
    assert "say which is which, such as --columns" in done.err
    assert not (tmp_path / "out.csv").exists()


def test_an_unknown_metric_names_those_there_are(folder: Path, run: Callable[..., Any]) -> None:
    done = run("evaluate", folder / "ncf.onnx", folder / "data" / "val", "--metrics", "ACU")
    assert done.code == 3
    assert "there is no metric 'ACU'; there are auc" in done.err


def test_a_table_is_shown_looked_up_and_written(folder: Path, tmp_path: Path, run: Callable[..., Any]) -> None:
    table = next((folder / "model").glob("*sparse*.model"))
    keys = np.fromfile(table / "key", np.int64)
    shown = run("table", table)
    assert (shown.code, f"{len(keys):,} rows of" in shown.out) == (0, True)
    found = json.loads(run("table", table, "--lookup", f"{keys[0]},{keys.max() + 1}", "--json").out)["rows"]
    assert found[str(keys.max() + 1)] is None
    width = len(found[str(keys[0])])
    np.testing.assert_array_equal(
        np.float32(found[str(keys[0])]), np.fromfile(table / "emb_vector", np.float32)[:width]
    )
    assert run("table", table, "-o", tmp_path / "a.npz").code == 0
    np.testing.assert_array_equal(np.load(tmp_path / "a.npz")["key"], keys)
