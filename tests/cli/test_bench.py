"""`hugectr2onnx bench`."""

from __future__ import annotations

import pytest

QUICK = ("--batch", "1,4", "--seconds", "0.02")


def test_a_table_with_a_line_for_each_case(compiled, run):
    result = run("bench", compiled, *QUICK)
    assert result.code == 0
    assert "latency on drawn inputs, with keys that the model knows" in result.out
    assert [line.split()[:3] for line in result.out.splitlines() if line.startswith("  tiny.onnx")] == [
        ["tiny.onnx", "1", "1"],
        ["tiny.onnx", "4", "1"],
    ]


def test_json_holds_the_same(compiled, run):
    data = run("bench", compiled, compiled, *QUICK, "--json").json
    assert data["same"] is True
    assert [each["batch"] for each in data["timings"]] == [1, 1, 4, 4]
    assert data["machine"]["versions"]["onnxruntime"]


def test_a_file_that_computes_something_else_gives_5(compiled, model, run, tmp_path):
    import numpy as np

    model.dense.write_bytes(np.array([0.5, -1.0, 3.0], "<f4").tobytes())
    assert run("compile", *model.arguments, "-o", tmp_path / "other.onnx", "--no-simplify").code == 0
    result = run("bench", compiled, tmp_path / "other.onnx", *QUICK)
    assert result.code == 5
    assert "other.onnx computes something else (label: differs by up to " in result.out


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (("--batch", "0"), "'0' is not a number from 1 up"),
        (("--seconds", "x"), "'x' is not a number of seconds above 0"),
    ],
)
def test_flags_that_cannot_be(compiled, run, flags, message):
    result = run("bench", compiled, *flags)
    assert result.code == 2
    assert message in result.err


def test_openvino_is_measured_or_said_to_be_missing(compiled, run):
    assert "on OpenVINO" in run("bench", compiled, *QUICK, "--openvino").out


def test_a_missing_file_is_invalid_input(compiled, run, tmp_path):
    result = run("bench", compiled, tmp_path / "none.onnx")
    assert result.code == 3
    assert "none.onnx: no such file" in result.err
