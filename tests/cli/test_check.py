"""`hugectr2onnx check`: text, data and exit codes (what it finds is in tests/test_checking.py)."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest


def test_nothing_is_wrong(model: Any, run: Any) -> None:
    result = run("check", *model.arguments)
    assert (result.code, result.err) == (0, "")
    assert "3  InnerProduct" in result.out
    assert f"nothing is wrong with {model.graph}" in result.out


def test_without_weights_it_says_which_files_are_needed(model: Any, run: Any) -> None:
    result = run("check", model.graph)
    assert result.code == 0
    assert "dense file PREFIX_dense_N.model: 12 bytes expected" in result.out
    assert "PREFIX0_sparse_N.model            4" in result.out


def test_everything_at_once_with_the_worst_exit_code(model: Any, run: Any) -> None:
    model.dense.write_bytes(b"\0" * 8)
    (model.table / "emb_vector").write_bytes(b"\0" * 4)
    model.change(lambda layers: layers[4].update(type="Addition"))
    result = run("check", *model.arguments)
    assert result.code == 4
    assert "3 problems in" in result.out
    assert "unsupported" in result.out
    assert "4 bytes are missing" in result.out
    assert "belongs to another table" in result.out


def test_a_short_file_alone_is_3(model: Any, run: Any) -> None:
    model.dense.write_bytes(b"\0" * 8)
    result = run("check", *model.arguments)
    assert result.code == 3
    assert "too short" in result.out


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
    assert """such as --layer-attrs '{"<top>": {"shape": [-1, ...]}}'""" in result.out
    assert "The size of the dense file may tell what is missing" in result.out


def test_a_level_below_2_has_a_label_encoder(model: Any, run: Any) -> None:
    np.arange(3).tofile(model.table / "key")
    for level, strategy in (("1", "label-encoder"), ("2", "direct")):
        report = run("check", *model.arguments, "-O", level, "--json").json
        assert [table["strategy"] for table in report["forecast"]["tables"]] == [strategy]


@pytest.mark.parametrize("output", ["/dev/null/x.onnx", "/dev/null", "/tmp"])
def test_a_place_that_cannot_be_written(output: str, model: Any, run: Any) -> None:
    result = run("check", *model.arguments, "-o", output)
    assert result.code == 3
    assert f"cannot write {output}" in result.out


def test_a_model_of_look_ups_alone(model: Any, run: Any) -> None:
    """A forecast without layers; the table of a collection among the files."""
    dump = model.folder / "dump" / "embedding_collection_0"
    dump.mkdir(parents=True)
    meta = (
        np.array([1, 1, 0, 0, 0, 0], "<i4").tobytes() + np.array([3], "<u8").tobytes() + np.array([2], "<i4").tobytes()
    )
    (dump / "meta_data").write_bytes(meta)
    for kind, name, body in ((1, "key0", np.arange(3)), (2, "weight0", np.ones(6, "<f4"))):
        (dump / name).write_bytes(np.array([kind, *[0] * 31], "<i4").tobytes() + body.tobytes())
    call = {"table": 0, "bottom": "keys", "top": "vec", "combiner": "sum"}
    (model.folder / "c.json").write_text(json.dumps({"path": "dump", "lookups": [call]}))
    model.change(lambda layers: layers.__delitem__(slice(1, None)))
    model.change(lambda layers: layers[0]["dense"].update(dense_dim=0))
    model.dense.write_bytes(b"")
    given = (model.graph, "--dense", model.dense, "--embedding-collection", model.folder / "c.json")
    result = run("check", *given)
    assert result.code == 0
    assert "forecast" in result.out
    (row,) = [line for line in result.out.splitlines() if "weight0" in line]
    assert row.split() == ["vec", "(0)", "keys", "1", "2", "sum", "weight0", "3", "0", "to", "2", "24", "24"]
    needed = run("check", *given[:1], *given[3:]).out
    assert "weight0" in needed and "PREFIX0_sparse" not in needed
    assert "3 rows (24 B)" in run("inspect", *given).out


def test_a_graph_that_is_none(model: Any, run: Any) -> None:
    result = run("check", model.dense)
    assert result.code == 3
    assert "1 problem in" in result.out


def test_a_folder_that_may_not_be_written_to_is_found(model: Any, run: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("os.access", lambda path, mode: False)
    result = run("check", *model.arguments, "-o", model.folder / "deep" / "m.onnx")
    assert result.code == 3
    assert "you may not write to its folder" in result.out
