"""Telling what a graph JSON holds, whatever is wrong with the model."""

from __future__ import annotations

from collections.abc import Mapping

import pytest

from hugectr2onnx.checking.report import CheckReport
from hugectr2onnx.errors import GraphJsonError
from hugectr2onnx.inspector import inspect

DATA = {
    "type": "Data",
    "label": {"top": "label", "label_dim": 1},
    "dense": {"top": "dense", "dense_dim": 3},
    "sparse": [],
}


def told(graph: Mapping[str, object]) -> CheckReport:
    report = inspect(graph)
    assert isinstance(report, CheckReport)
    return report


def test_a_hugectr_model() -> None:
    layer = {"type": "InnerProduct", "bottom": "dense", "top": "fc", "fc_param": {"num_output": 2}}
    report = told({"layers": [DATA, layer]})
    assert [(each.type, each.weights) for each in report.layers] == [("InnerProduct", {"weight": (3, 2), "bias": (2,)})]
    assert [(each.name, each.type) for each in report.outputs] == [("fc", "f32[N, 2]")]


def test_problems_of_a_model_do_not_hide_the_rest() -> None:
    report = told({"layers": [DATA, {"type": "Magic", "bottom": "dense", "top": "a"}]})
    assert [each.type for each in report.layers] == ["Magic"]
    assert report.exit_code == 4


def test_a_graph_that_cannot_be_read() -> None:
    with pytest.raises(GraphJsonError, match=r"layers: expected a list"):
        inspect({"layers": 3})
