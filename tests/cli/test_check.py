"""`hugectr2onnx check`: text, data and exit codes (what it finds is in tests/test_checking.py)."""

from __future__ import annotations

from typing import Any


def test_nothing_is_wrong(model: Any, run: Any) -> None:
    result = run("check", *model.arguments)
    assert (result.code, result.out) == (0, "")
    assert "3  InnerProduct" in result.err
    assert f"nothing is wrong with {model.graph}" in result.err


def test_without_weights_it_says_which_files_are_needed(model: Any, run: Any) -> None:
    result = run("check", model.graph)
    assert result.code == 0
    assert "dense file PREFIX_dense_N.model: 12 bytes expected" in result.err
    assert "PREFIX0_sparse_N.model            4" in result.err


def test_everything_at_once_with_the_worst_exit_code(model: Any, run: Any) -> None:
    model.dense.write_bytes(b"\0" * 8)
    (model.table / "emb_vector").write_bytes(b"\0" * 4)
    model.change(lambda layers: layers[4].update(type="Addition"))
    result = run("check", *model.arguments)
    assert result.code == 4
    assert "3 problems in" in result.err
    assert "unsupported" in result.err
    assert "4 bytes are missing" in result.err
    assert "belongs to another table" in result.err


def test_a_short_file_alone_is_3(model: Any, run: Any) -> None:
    model.dense.write_bytes(b"\0" * 8)
    result = run("check", *model.arguments)
    assert result.code == 3
    assert "too short" in result.err


def test_weights_that_are_not_there_are_one_problem_among_others(model: Any, run: Any) -> None:
    model.change(lambda layers: layers[4].update(type="Addition"))
    result = run("check", model.graph, "--weights", model.folder / "nothere", "--json")
    assert [problem["kind"] for problem in result.json["problems"]] == ["WeightsError", "UnsupportedError"]
    assert result.code == 4


def test_json(model: Any, run: Any) -> None:
    result = run("check", *model.arguments, "--json")
    assert result.err == ""
    assert result.json["ok"] is True
    assert result.json["dense"] == {
        "path": str(model.dense),
        "expected_bytes": 12,
        "found_bytes": 12,
        "is_complete": True,
    }
    assert result.json["layers"][1]["weights"] == {"weight": [2, 1], "bias": [1]}


def test_missing_information_names_the_flag(model: Any, run: Any) -> None:
    model.change(lambda layers: layers[2].update(leading_dim=0, time_step=0))
    result = run("check", model.graph)
    assert result.code == 3
    assert "on the command line: --layer-attrs" in result.err
    assert "The size of the dense file may tell what is missing" in result.err


def test_a_graph_that_is_none(model: Any, run: Any) -> None:
    result = run("check", model.dense)
    assert result.code == 3
    assert "1 problem in" in result.err
