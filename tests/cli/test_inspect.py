"""`hugectr2onnx inspect`."""

from __future__ import annotations

from pathlib import Path
from typing import Any


def test_a_hugectr_model(model: Any, run: Any) -> None:
    result = run("inspect", *model.arguments)
    assert (result.code, result.err) == (0, "")
    assert "weight [2, 1], bias [1]" in result.out
    assert "5 to 1099511627776" in result.out
    assert "5 layers with 3 weights (12 B), 3 rows (12 B)" not in result.out
    assert "4 layers with 3 weights (12 B), 3 rows (12 B)" in result.out


def test_a_graph_alone(model: Any, run: Any) -> None:
    assert run("inspect", model.graph).code == 0


def test_a_model_with_problems_is_shown_all_the_same(model: Any, run: Any) -> None:
    model.change(lambda layers: layers[4].update(type="Addition"))
    result = run("inspect", *model.arguments)
    assert result.code == 0
    assert "InnerProduct" in result.out
    assert "hugectr2onnx check" in result.out


def test_a_graph_that_cannot_be_read(model: Any, run: Any) -> None:
    model.graph.write_text('{"layers": [')
    assert run("inspect", model.graph).code == 3


def test_an_onnx_file(compiled: Path, run: Any) -> None:
    result = run("inspect", compiled)
    assert (result.code, result.err) == (0, "")
    for part in (
        "input   keys   i64[N, 1, nnz_keys]",
        "ai.onnx.ml.LabelEncoder 1",
        "5 to 1099511627776",
        "made by hugectr2onnx",
    ):
        assert part in result.out


def test_an_onnx_file_has_its_weights(compiled: Path, model: Any, run: Any) -> None:
    assert run("inspect", compiled, "--weights", model.folder).code == 2


def test_json(compiled: Path, model: Any, run: Any) -> None:
    assert run("inspect", compiled, "--json").json["outputs"] == [{"name": "label", "type": "f32[N, 1]"}]
    assert run("inspect", *model.arguments, "--json").json["tables"][0]["rows"] == 3


def test_neither_one_nor_the_other(tmp_path: Path, run: Any) -> None:
    (tmp_path / "model.bin").write_bytes(b"\x93\xff\x00")
    for path in (tmp_path / "model.bin", tmp_path / "nothere.onnx", tmp_path, tmp_path / "nothere"):
        result = run("inspect", path)
        assert result.code == 3
        assert str(path) in result.err
