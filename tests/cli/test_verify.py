"""`hugectr2onnx verify`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

DENSE = np.array([[1.0, 2.0], [0.0, -3.0], [4.0, 0.5]], np.float32)
ROWS = np.array([[[7, 5]], [[1 << 40, -1]], [[123, 7]]], np.int64)


@pytest.fixture
def arguments(compiled: Path, model: Any) -> list[object]:
    return ["verify", compiled, "--against", *model.arguments]


@pytest.fixture
def samples(model: Any, tmp_path: Path) -> Path:
    path = tmp_path / "samples.npz"
    np.savez(path, dense=DENSE, keys=ROWS, label=model.predict(DENSE, ROWS))
    return path


def test_a_good_file(arguments: list[object], compiled: Path, run: Any) -> None:
    result = run(*arguments)
    assert (result.code, result.err) == (0, "")
    assert "logits of label" in result.out
    assert f"{compiled}: passed" in result.out


def test_a_file_of_other_weights_is_5(arguments: list[object], model: Any, run: Any) -> None:
    model.dense.write_bytes(np.array([0.5, -1.0, 0.26], "<f4").tobytes())
    result = run(*arguments)
    assert result.code == 5
    assert "differs from the float64 reference" in result.err


def test_with_hugectrs_predictions(arguments: list[object], samples: Path, run: Any) -> None:
    result = run(*arguments, "--samples", samples)
    assert result.code == 0
    assert "against HugeCTR's predictions for 3 rows" in result.out


def test_predictions_of_another_model_are_5(arguments: list[object], samples: Path, model: Any, run: Any) -> None:
    np.savez(samples, dense=DENSE, keys=ROWS, label=model.predict(DENSE, ROWS) + 0.01)
    result = run(*arguments, "--samples", samples)
    assert result.code == 5
    assert "the file differs in 3 of 3 elements" in result.err


def test_tolerances(arguments: list[object], samples: Path, model: Any, run: Any) -> None:
    np.savez(samples, dense=DENSE, keys=ROWS, label=model.predict(DENSE, ROWS) + 0.01)
    assert run(*arguments, "--samples", samples, "--atol", "0.02").code == 0
    assert run(*arguments, "--samples", samples, "--rtol", "0", "--atol", "1e-3").code == 5


@pytest.mark.parametrize("text", ["-1", "nan", "inf", "much"])
def test_a_tolerance_that_is_none(text: str, arguments: list[object], run: Any) -> None:
    assert run(*arguments, f"--atol={text}").code == 2


def test_json(arguments: list[object], samples: Path, run: Any) -> None:
    result = run(*arguments, "--samples", samples, "--json")
    assert result.err == ""
    assert result.json["passed"] is True
    assert [each["answers_of"] for each in result.json["comparisons"]] == ["the file", "the reference"]


def test_a_failure_is_data_too(arguments: list[object], model: Any, run: Any) -> None:
    model.dense.write_bytes(np.array([0.5, -1.0, 0.26], "<f4").tobytes())
    result = run(*arguments, "--json")
    assert result.json["passed"] is False
    assert "output 'label' differs from the float64 reference" in result.json["problems"][0]


def test_options_of_the_compilation_come_from_the_file(model: Any, run: Any, tmp_path: Path) -> None:
    path = tmp_path / "vectors.onnx"
    run("compile", *model.arguments, "-o", path, "--no-embedding", "--no-simplify")
    assert run("verify", path, "--against", *model.arguments).code == 0


def test_a_file_of_another_model_is_3(arguments: list[object], model: Any, run: Any) -> None:
    model.graph.write_text(model.graph.read_text().replace('"keys"', '"other_keys"'))
    result = run(*arguments)
    assert result.code == 3
    assert "has the inputs dense, keys, the HugeCTR model gives dense, other_keys" in result.err


def test_what_is_missing_is_usage(compiled: Path, model: Any, run: Any) -> None:
    assert run("verify", compiled).code == 2
    assert run("verify", compiled, "--against", model.graph).code == 2


def test_options_of_the_file_itself_are_said_to_be(arguments: list[object], run: Any) -> None:
    assert "options: from the file, which is under suspicion itself: --options gives others" in run(*arguments).out


def test_options_of_a_manifest_come_in_place_of_those_of_the_file(model: Any, run: Any, tmp_path: Path) -> None:
    """A file that says of itself that it was made with another default vector passes by its own options only."""
    file, other = tmp_path / "m.onnx", tmp_path / "other"
    other.mkdir()
    given = ("--no-simplify", "--manifest")
    assert run("compile", *model.arguments, "-o", file, "--default-embedding", "3", *given).code == 0
    assert run("compile", *model.arguments, "-o", other / "m.onnx", *given).code == 0
    verify = ["verify", file, "--against", *model.arguments]
    assert run(*verify).code == 0
    own = run(*verify, "--options", tmp_path / "manifest.json")
    assert (own.code, "options: from the caller" in own.out) == (0, True)
    assert run(*verify, "--options", other / "manifest.json::m.onnx").code == 5


def test_options_of_a_file_that_is_no_manifest(arguments: list[object], model: Any, run: Any) -> None:
    result = run(*arguments, "--options", model.graph)
    assert (result.code, "is not the manifest.json of a compiled model" in result.err) == (3, True)
