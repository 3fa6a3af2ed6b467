"""`hugectr2onnx export split` and `export versions`."""

from __future__ import annotations

import numpy as np
import pytest

from hugectr2onnx.stores.split_scorer import SplitScorer

from .conftest import Model


@pytest.fixture(autouse=True)
def needs_pyarrow() -> None:
    pytest.importorskip("pyarrow")


def test_a_split_model_predicts_what_is_worked_out_by_hand(model: Model, tmp_path, run) -> None:
    result = run(
        "export", "split", model.graph, tmp_path / "s", "--weights", model.folder, "--store", "parquet", "--json"
    )
    assert result.code == 0, result.err
    assert result.json["version"] == "1"
    assert result.json["current"] is True
    assert [(table["rows"], table["width"]) for table in result.json["tables"]] == [(3, 1)]
    dense, keys = np.array([[1.0, 2.0]], np.float32), np.array([[[7, 5]]], np.int64)
    with SplitScorer(tmp_path / "s") as scorer:
        names = [entry.name for entry in scorer.client.record.inputs]
        answer = scorer(dict(zip(names, (dense, keys), strict=True)))
    np.testing.assert_allclose(answer["label"], model.predict(dense, keys), atol=1e-6)


def test_versions_are_listed_switched_and_removed(model: Model, tmp_path, run) -> None:
    split = ("export", "split", model.graph, tmp_path, "--weights", model.folder, "--store", "parquet")
    assert run(*split).code == 0
    assert "not current yet" in run(*split, "--no-switch").out
    assert run("export", "versions", tmp_path, "--json").json == {"versions": ["1", "2"], "current": "1"}
    assert run("export", "versions", tmp_path, "--switch", "2", "--json").json["current"] == "2"
    assert run("export", "versions", tmp_path, "--remove", "1", "--json").json == {"versions": ["2"], "current": "2"}
    refused = run("export", "versions", tmp_path, "--remove", "2")
    assert refused.code == 3
    assert "version 2 is the one that readers take" in refused.err


def test_a_redis_store_needs_an_address(model: Model, tmp_path, run) -> None:
    result = run("export", "split", model.graph, tmp_path, "--weights", model.folder, "--store", "redis")
    assert result.code == 2
    assert "no Redis node is named" in result.err


def test_a_password_in_an_address_is_not_shown(model: Model, tmp_path, run) -> None:
    pytest.importorskip("redis")
    address = "redis://user:secret@127.0.0.1:1"
    result = run(
        "export", "split", model.graph, tmp_path, "--weights", model.folder, "--store", "redis", "--address", address
    )
    assert result.code == 3
    assert "the Redis node 127.0.0.1:1 does not answer" in result.err
    assert "secret" not in result.err + result.out


def test_files_have_no_lock_to_break(model: Model, tmp_path, run) -> None:
    assert run("export", "split", model.graph, tmp_path, "--weights", model.folder, "--store", "parquet").code == 0
    assert "no export holds a lock" in run("export", "versions", tmp_path, "--break-lock").out
