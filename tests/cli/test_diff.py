"""`hugectr2onnx diff`."""

from __future__ import annotations

import numpy as np


def parts(result):
    return {(each["part"], each["name"]): (each["a"], each["b"]) for each in result.json["changes"]}


def test_a_file_and_itself_hold_the_same(compiled, run):
    result = run("diff", compiled, compiled, "--json")
    assert (result.code, result.json["same"], result.json["changes"]) == (0, True, [])
    assert "hold the same" in run("diff", compiled, compiled).out


def test_two_levels_differ_in_operators_layers_and_options(model, compiled, tmp_path, run):
    naive = tmp_path / "naive.onnx"
    assert run("compile", *model.arguments, "-o", naive, "-O0", "--no-simplify").code == 0
    found = parts(run("diff", naive, compiled, "--json"))
    assert found["options", "opt_level"] == ("0", "2")
    assert found["operators", "MatMul"] == ("1", None)
    assert ("layers", "fc") in found
    assert not any(part == "interface" for part, _ in found)


def test_a_weight_of_other_numbers_is_named(model, compiled, tmp_path, run):
    model.dense.write_bytes(np.array([0.5, -1.0, 0.75], "<f4").tobytes())
    other = tmp_path / "other.onnx"
    assert run("compile", *model.arguments, "-o", other, "--no-simplify").code == 0
    found = parts(run("diff", compiled, other, "--json"))
    assert [key for key in found if key[0] == "weights"] != []
    assert {value[1] for key, value in found.items() if key[0] == "weights"} == {"f32[1], other numbers"}
    assert not any(part in ("operators", "layers") for part, _ in found)


def test_the_text_has_a_table_for_each_part(model, compiled, tmp_path, run):
    naive = tmp_path / "naive.onnx"
    assert run("compile", *model.arguments, "-o", naive, "-O0", "--no-simplify").code == 0
    text = run("diff", naive, compiled).out
    assert text.index("operators") < text.index("layers") < text.index("options") < text.index("sizes")


def test_a_file_that_is_no_model(compiled, tmp_path, run):
    (tmp_path / "x.onnx").write_bytes(b"no")
    assert run("diff", compiled, tmp_path / "x.onnx").code == 3
