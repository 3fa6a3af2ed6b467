"""`hugectr2onnx bisect`."""

from __future__ import annotations

import numpy as np

from hugectr2onnx import passes
from hugectr2onnx.ir.ops.elementwise import Sigmoid


def drop_sigmoids(graph):
    """A pass that is at fault, and does not work by rules."""
    found = [node for node in graph if isinstance(node.op, Sigmoid)]
    for node in found:
        graph.replace(node.results[0], node.inputs[0])
        graph.erase(node)
    return passes.Fires({"drop_sigmoids": len(found)} if found else {})


def test_a_model_without_fault(model, run):
    result = run("bisect", *model.arguments, "-O2", "--json")
    assert (result.code, result.json["passed"], result.json["fault"]) == (0, True, None)


def test_a_fault_is_named_and_reproduced(model, run, monkeypatch, tmp_path):
    monkeypatch.setitem(passes.PIPELINES, 2, (*passes.PIPELINES[2], drop_sigmoids))
    np.savez(tmp_path / "in.npz", dense=np.ones((4, 2), np.float32), keys=np.full((4, 1, 2), 7))
    result = run("bisect", *model.arguments, "--data", tmp_path / "in.npz", "-o", tmp_path / "found", "--json")
    assert result.code == 5
    assert result.json["fault"]["pass"] == "drop_sigmoids"
    assert result.json["fault"]["output"] == "label"
    assert (tmp_path / "found" / "reproduce.py").is_file()
    for_a_reader = run("bisect", *model.arguments, "--data", tmp_path / "in.npz")
    assert "pass drop_sigmoids (run" in for_a_reader.out


def test_weights_are_needed(model, run):
    assert run("bisect", model.graph).code == 2
