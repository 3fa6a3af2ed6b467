"""NVIDIA's `converter.convert` and its command line."""

from __future__ import annotations

import inspect
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import hugectr2onnx
from hugectr2onnx.backend.runtime import sessions
from hugectr2onnx.converter import convert, main

DENSE = np.array([[1.0, 2.0], [0.0, -3.0]], np.float32)
ROWS = np.array([[[7, 5]], [[1 << 40, -1]]], np.int64)


def inputs(path: Path) -> list[tuple[str, list[object]]]:
    return [(each.name, each.shape) for each in sessions.open_session(path).get_inputs()]


def flags(model: Any, path: Path, *more: object) -> list[str]:
    given = ("--onnx_model_path", path, "--graph_config", model.graph, "--dense_model", model.dense, *more)
    return [str(each) for each in given]


def test_the_signature_is_nvidias() -> None:
    assert [(p.name, p.default) for p in inspect.signature(convert).parameters.values()] == [
        ("onnx_model_path", inspect.Parameter.empty),
        ("graph_config", inspect.Parameter.empty),
        ("dense_model", inspect.Parameter.empty),
        ("convert_embedding", False),
        ("sparse_models", None),
        ("ntp_file", None),
        ("graph_name", "hugectr"),
    ]


def test_it_can_be_reached_as_nvidias_users_do() -> None:
    assert hugectr2onnx.converter.convert is convert


def test_with_embeddings(model: Any, tmp_path: Path) -> None:
    path = tmp_path / "out.onnx"
    assert convert(str(path), str(model.graph), str(model.dense), True, [str(model.table)]) is None
    assert inputs(path) == [("dense", ["N", 2]), ("keys", ["N", 1, "nnz_keys"])]
    answer = sessions.run(sessions.open_session(path), {"dense": DENSE, "keys": ROWS})["label"]
    np.testing.assert_allclose(answer, model.predict(DENSE, ROWS), rtol=1e-5)


def test_without_embeddings_their_vectors_are_inputs(model: Any, tmp_path: Path) -> None:
    path = tmp_path / "out.onnx"
    convert(path, model.graph, model.dense)
    assert inputs(path) == [("dense", ["N", 2]), ("emb", ["N", 1, 1])]


def test_tables_are_ignored_where_they_are_not_converted(model: Any, tmp_path: Path) -> None:
    convert(tmp_path / "out.onnx", model.graph, model.dense, False, [model.table])
    assert inputs(tmp_path / "out.onnx")[1][0] == "emb"


def test_an_empty_dense_input_is_kept_for_those_who_count(model: Any, tmp_path: Path) -> None:
    def without_dense(layers: list[dict[str, Any]]) -> None:
        layers[0]["dense"]["dense_dim"] = 0
        del layers[3:5]
        layers[-1]["bottom"] = ["wide", "label"]

    model.change(without_dense)
    model.dense.write_bytes(b"")
    convert(tmp_path / "out.onnx", model.graph, model.dense, True, [model.table])
    assert inputs(tmp_path / "out.onnx") == [("dense", ["N", 0]), ("keys", ["N", 1, "nnz_keys"])]


def test_the_name_of_the_graph(model: Any, tmp_path: Path) -> None:
    import onnx

    convert(tmp_path / "out.onnx", model.graph, model.dense, graph_name="wdl")
    assert onnx.load(tmp_path / "out.onnx").graph.name == "wdl"


def test_statistics_of_batch_norm(model: Any, tmp_path: Path) -> None:
    """fc has mean 0.25 and variance 3.0 - eps, so that BatchNorm divides by sqrt(3)."""

    def with_norm(layers: list[dict[str, Any]]) -> None:
        layers[4]["bottom"] = ["bn", "wide"]
        layers.insert(4, {"type": "BatchNorm", "bottom": "fc", "top": "bn", "bn_param": {"factor": 1.0, "eps": 0.5}})

    model.change(with_norm)
    model.dense.write_bytes(np.array([0.5, -1.0, 0.25, 1.0, 0.0], "<f4").tobytes())
    statistics = tmp_path / "statistics.json"
    statistics.write_text(json.dumps({"layers": [{"type": "BatchNorm", "mean": [0.25], "var": [2.5]}]}))
    convert(tmp_path / "out.onnx", model.graph, model.dense, True, [model.table], statistics)
    feeds = {"dense": np.array([[2.0, 0.0]], np.float32), "keys": np.array([[[-1, -1]]])}
    answer = sessions.run(sessions.open_session(tmp_path / "out.onnx"), feeds)["label"]
    np.testing.assert_allclose(answer, [[1 / (1 + np.exp(-1 / np.sqrt(3)))]], rtol=1e-5)


def test_errors_are_of_the_family(model: Any, tmp_path: Path) -> None:
    model.dense.write_bytes(b"\0" * 8)
    with pytest.raises(hugectr2onnx.HugeCTR2ONNXError, match=r"bias needs 1 floats .*the file is truncate"):
        convert(tmp_path / "out.onnx", model.graph, model.dense, True, [model.table])
    assert not (tmp_path / "out.onnx").exists()


# The command line


@pytest.mark.parametrize("flag", [["--convert_embedding"], ["--convert_embedding", "1"]])
def test_nvidias_flags(flag: list[str], model: Any, tmp_path: Path) -> None:
    """NVIDIA's own flag takes no value; 0 and 1 are what users write all the same."""
    path = tmp_path / "out.onnx"
    assert main(flags(model, path, *flag, "--sparse_models", model.table)) == 0
    assert inputs(path) == [("dense", ["N", 2]), ("keys", ["N", 1, "nnz_keys"])]


@pytest.mark.parametrize("flag", [[], ["--convert_embedding", "0"]])
def test_embeddings_are_left_out_by_default(flag: list[str], model: Any, tmp_path: Path) -> None:
    path = tmp_path / "out.onnx"
    assert main(flags(model, path, *flag, "--graph_name", "wdl")) == 0
    assert inputs(path) == [("dense", ["N", 2]), ("emb", ["N", 1, 1])]


def test_exit_codes(model: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "out.onnx"
    model.change(lambda layers: layers[4].update(type="Addition"))
    assert main(flags(model, path)) == 4
    assert "Addition" in capsys.readouterr().err
    model.graph.write_text("{")
    assert main(flags(model, path)) == 3
    assert not path.exists()


def test_as_a_module(model: Any, tmp_path: Path) -> None:
    path = tmp_path / "out.onnx"
    command = [sys.executable, "-m", "hugectr2onnx.converter", *flags(model, path)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    assert path.is_file()


def test_wrong_flags_are_2() -> None:
    with pytest.raises(SystemExit) as stop:
        main(["--onnx_model_path", "x.onnx"])
    assert stop.value.code == 2
