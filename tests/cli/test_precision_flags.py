"""--precision, --cpu, budgets over products, samples from a data set, and the picture of what was tried."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

QUICK = ("--no-simplify",)
DENSE = np.random.default_rng(0).normal(size=(40, 2)).astype(np.float32)
KEYS = np.tile(np.array([[[7, 5]]], np.int64), (40, 1, 1))


@pytest.fixture
def wide(model: Any) -> Any:
    """The model with a hidden layer of 300 units in front."""

    def widen(layers: list[dict[str, Any]]) -> None:
        last = next(each for each in layers if each["type"] == "InnerProduct")
        at = layers.index(last)
        hidden = [
            {"type": "InnerProduct", "bottom": last["bottom"], "top": "h1", "fc_param": {"num_output": 300}},
            {"type": "InnerProduct", "bottom": "h1", "top": "h2", "fc_param": {"num_output": 300}},
            {"type": "ReLU", "bottom": "h2", "top": "h2_relu"},
        ]
        hidden.insert(1, {"type": "ReLU", "bottom": "h1", "top": "h1_relu"})
        hidden[2]["bottom"] = "h1_relu"
        layers[at:at] = hidden
        last["bottom"] = "h2_relu"

    model.change(widen)
    random = np.random.default_rng(1)
    shapes = [(2, 300), (300,), (300, 300), (300,), (300, 1), (1,)]
    model.dense.write_bytes(b"".join((random.normal(size=s) / 20).astype("<f4").tobytes() for s in shapes))
    return model


def test_products_and_what_this_machine_is_fit_for(wide: Any, run: Any, tmp_path: Path) -> None:
    path = tmp_path / "out.onnx"
    result = run("compile", *wide.arguments, "-o", path, "--precision", "int8", *QUICK)
    assert result.code == 0, result.err
    assert "300 x 300" in result.out and "large enough to gain" in result.out
    assert "cost of int8: label moves by up to" in result.out
    assert "this machine adds products of bytes in" in result.out
    assert run("verify", path, "--against", *wide.arguments).code == 0


def test_a_layer_by_name(wide: Any, run: Any, tmp_path: Path) -> None:
    flags = ("--precision", "int8,h2=fp32", "--json", *QUICK)
    products = run("compile", *wide.arguments, "-o", tmp_path / "out.onnx", *flags).json["report"]["products"]
    assert {each["precision"] for each in products} == {"fp32"}


def test_a_search_on_predictions_alone_and_its_picture(wide: Any, run: Any, tmp_path: Path) -> None:
    np.savez(tmp_path / "s.npz", dense=DENSE, keys=KEYS)
    flags = ("--precision", "auto", "--samples", tmp_path / "s.npz", "--budget", "max:1e-1,rank:90%", *QUICK)
    result = run("compile", *wide.arguments, "-o", tmp_path / "out.onnx", *flags, "--frontier", tmp_path / "f.svg")
    assert result.code == 0, result.err
    assert "products as" in result.out and "largest change" in result.out and "AUC" not in result.out
    assert (tmp_path / "f.svg").read_text().startswith("<svg")


def test_samples_from_a_data_set(wide: Any, run: Any, tmp_path: Path) -> None:
    labels = np.random.default_rng(2).integers(0, 2, (40, 1)).astype(np.float32)
    np.savez(tmp_path / "s.npz", dense=DENSE, keys=KEYS, label=labels)
    flags = ("--precision", "auto", "--data", tmp_path / "s.npz", "--limit", "30", "--embedding", "fp32", "--json")
    result = run("compile", *wide.arguments, "-o", tmp_path / "out.onnx", *flags, *QUICK)
    assert result.code == 0, result.err
    trials = result.json["report"]["trials"]
    assert trials[0]["quality"]["label"]["samples"] == 30
    assert [trial["precision"] for trial in trials[:2]] == ["fp32", "int8"]
    assert json.dumps(trials)


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (("--precision", "auto"), "precision 'auto' is searched on samples"),
        (("--precision", "int4"), "precision is 'int4'; it must be one of fp32, int8, int8-row, auto"),
        (("--precision", "int8,fp32"), "give one value for all layers"),
        (("--precision", "h9=int8"), "precision names 'h9', which is no layer with a product"),
        (("--budget", "max:1"), "--budget needs --samples FILE.npz or --data DATA"),
        (("--frontier", "f.svg"), "--frontier needs --samples FILE.npz or --data DATA"),
        (("--samples", "a", "--data", "b"), "give --samples or --data, not both"),
    ],
)
def test_what_cannot_be(flags: tuple[str, ...], message: str, wide: Any, run: Any, tmp_path: Path) -> None:
    result = run("compile", *wide.arguments, "-o", tmp_path / "out.onnx", *flags, *QUICK)
    assert result.code == 2
    assert message in result.err
