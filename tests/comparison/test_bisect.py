"""The first pass, and the first fire of a rule, after which a graph computes something else."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import hugectr2onnx
from hugectr2onnx import passes
from hugectr2onnx.comparison.bisect import bisect
from hugectr2onnx.comparison.reproduction import MAX_REPRODUCTION_BYTES, write_reproduction
from hugectr2onnx.errors import OutputError
from hugectr2onnx.frontend.weights.snapshot import Weights
from hugectr2onnx.ir.graph import Graph, Value
from hugectr2onnx.ir.ops.elementwise import Relu
from hugectr2onnx.passes.pattern import Var
from hugectr2onnx.passes.rewriter import Fires, apply, rule

from .conftest import HandModel

X = Var("x")


@rule(Relu()(X))
def drop_relu(x: Value, root: Value) -> Value | None:
    """relu(x)  ->  x, which is wrong"""
    return x


def drop_activations(graph: Graph) -> Fires:
    """A pass that is at fault."""
    return apply(graph, [drop_relu])


@pytest.fixture
def faulty(monkeypatch: pytest.MonkeyPatch) -> None:
    pipeline = (passes.PIPELINES[1][0], drop_activations, *passes.PIPELINES[2])
    monkeypatch.setitem(passes.PIPELINES, 2, pipeline)  # type: ignore[arg-type]


def test_a_model_without_fault_passes(hand: HandModel, weights: Weights) -> None:
    found = bisect(hand.graph, weights, 2)
    assert found.passed
    assert found.runs > 3


@pytest.mark.usefixtures("faulty")
def test_the_pass_the_rule_and_the_fire_are_named(hand: HandModel, weights: Weights) -> None:
    found = bisect(hand.graph, weights, 2)
    assert found.fault is not None
    assert (found.fault.pass_name, found.fault.rule) == ("drop_activations", "drop_relu")
    assert (found.fault.fire, found.fault.fires) == (1, 2)
    assert found.fault.layers == ("relu1",)
    assert "it changes output label by up to" in found.text


@pytest.mark.usefixtures("faulty")
def test_the_first_fire_that_matters_is_named(hand: HandModel, tmp_path: Path) -> None:
    """Where the first activation gets positive numbers alone, dropping the second is what changes the result."""
    small = {"fc2_weight": hand.weights["fc2.weight"] / 10, "fc3_weight": hand.weights["fc3.weight"] / 10}
    positive = hand.changed(bn1_beta=hand.weights["bn1.beta"] + 8, **small)
    tensors = positive.evaluate(hand.feeds())
    assert (tensors["bn1"] > 0).all()
    assert (tensors["fc2"] < 0).any()
    found = bisect(hand.graph, positive.write(tmp_path / "positive"), 2, data=hand.feeds())
    assert found.fault is not None
    assert (found.fault.fire, found.fault.layers) == (2, ("relu2",))
    assert found.feeds == "the given inputs"


@pytest.mark.usefixtures("faulty")
@pytest.mark.parametrize("anonymize", [False, True])
def test_the_reproduction_runs_and_is_small(hand: HandModel, weights: Weights, tmp_path: Path, anonymize: bool) -> None:
    fault = bisect(hand.graph, weights, 2).fault
    assert fault is not None
    folder = tmp_path / "reproduction"
    written = write_reproduction(fault, folder, anonymize=anonymize)
    assert written.bytes < MAX_REPRODUCTION_BYTES
    assert written.nodes <= 2
    before = (folder / "before.txt").read_text()
    assert "relu(" in before
    assert ("bn1" in before) is not anonymize
    with np.load(folder / "feeds.npz") as arrays:
        assert {"expected", "found"} <= set(arrays)
        assert np.abs(arrays["expected"] - arrays["found"]).max() > 0.01
    ran = subprocess.run([sys.executable, folder / "reproduce.py"], capture_output=True, text=True, check=False)
    assert ran.returncode == 1, ran.stderr
    assert "after differs from before by up to" in ran.stdout


@pytest.mark.usefixtures("faulty")
def test_a_folder_that_is_there_is_left_alone(hand: HandModel, weights: Weights, tmp_path: Path) -> None:
    fault = bisect(hand.graph, weights, 2).fault
    assert fault is not None
    with pytest.raises(OutputError, match="File exists; choose another path"):
        write_reproduction(fault, tmp_path)


def test_a_pass_that_fails_is_named(hand: HandModel, weights: Weights, monkeypatch: pytest.MonkeyPatch) -> None:
    def break_down(graph: Graph) -> Fires:
        raise ValueError("broken")

    monkeypatch.setitem(passes.PIPELINES, 2, (*passes.PIPELINES[2], break_down))  # type: ignore[arg-type]
    found = bisect(hand.graph, weights, 2)
    assert found.fault is not None
    assert found.text == "pass break_down fails: broken"


def test_the_public_name() -> None:
    assert hugectr2onnx.bisect is bisect
