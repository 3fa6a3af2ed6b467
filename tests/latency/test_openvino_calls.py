"""Models on OpenVINO, whose answers are those of onnxruntime."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import helper

from hugectr2onnx.errors import FeedError, UnsupportedError
from hugectr2onnx.latency.openvino_calls import OpenVINOCalls

pytest.importorskip("openvino", reason="the extra `openvino` is not installed")


def saved(tmp_path: Path, *nodes: onnx.NodeProto) -> str:
    """A model of x float32 [N, 2] to y."""
    body = helper.make_graph(
        nodes,
        "g",
        [helper.make_tensor_value_info("x", onnx.TensorProto.FLOAT, ["N", 2])],
        [helper.make_tensor_value_info("y", onnx.TensorProto.FLOAT, ["N", 2])],
    )
    path = tmp_path / "m.onnx"
    onnx.save(helper.make_model(body, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), path)
    return str(path)


def test_answers_and_calls_of_any_batch(tmp_path: Path) -> None:
    model = OpenVINOCalls(saved(tmp_path, helper.make_node("Add", ["x", "x"], ["y"])), threads=1)
    for batch in (1, 3):
        x = np.arange(2 * batch, dtype=np.float32).reshape(batch, 2)
        np.testing.assert_array_equal(model.answers({"x": x})["y"], 2 * x)
    assert len(model.calls([{"x": x}, {"x": x}])) == 2


def test_an_operator_that_it_lacks_is_told_with_a_way_out(tmp_path: Path) -> None:
    path = saved(tmp_path, helper.make_node("NoSuchOperator", ["x"], ["y"]))
    with pytest.raises(UnsupportedError, match=r"OpenVINO cannot read it \(.*\); with keys='direct' or 'indices'"):
        OpenVINOCalls(path, threads=1)


def test_a_feed_that_does_not_fit_is_an_error_of_ours(tmp_path: Path) -> None:
    model = OpenVINOCalls(saved(tmp_path, helper.make_node("Add", ["x", "x"], ["y"])), threads=1)
    with pytest.raises(FeedError, match="OpenVINO failed on these inputs"):
        model.answers({"x": np.zeros((1, 5), np.float32)})
