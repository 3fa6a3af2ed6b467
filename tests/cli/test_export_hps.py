"""`hugectr2onnx export hps`."""

from __future__ import annotations

import json

from .conftest import Model


def test_files_of_an_hps_deployment(model: Model, tmp_path, run) -> None:
    arguments = ("--weights", model.folder, "--name", "tiny", "--gpus", "1,2", "--server-path", "/models", "--json")
    result = run("export", "hps", model.graph, tmp_path / "r", *arguments)
    assert result.code == 0, result.err
    assert result.json["models"] == ["tiny", "tiny_embeddings", "tiny_dense"]
    (served,) = json.loads((tmp_path / "r" / "hps.json").read_text())["models"]
    assert served["deployed_device_list"] == [1, 2]
    assert served["sparse_files"] == result.json["sparse_files"]
    assert served["sparse_files"][0].startswith("/models/tiny_embeddings/1/")


def test_it_says_that_nothing_was_run(model: Model, tmp_path, run) -> None:
    result = run("export", "hps", model.graph, tmp_path / "r", "--weights", model.folder)
    assert "generated and checked, not run" in result.out
    again = run("export", "hps", model.graph, tmp_path / "r", "--weights", model.folder)
    assert again.code == 3
    assert "it is there already; choose another folder or name" in again.err


def test_gpus_are_numbers(model: Model, tmp_path, run) -> None:
    result = run("export", "hps", model.graph, tmp_path / "r", "--weights", model.folder, "--gpus", "a")
    assert result.code == 2
    assert "give numbers with commas between them" in result.err
