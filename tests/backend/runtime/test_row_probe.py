"""Rows that no feed holds, run through the nodes that quantize rows, alone."""

from __future__ import annotations

import numpy as np
import pytest

from hugectr2onnx.backend.onnx.emitter import emit
from hugectr2onnx.backend.runtime import row_probe
from hugectr2onnx.ir.graph import Graph
from hugectr2onnx.ir.ops.elementwise import Relu
from hugectr2onnx.ir.ops.quantized import RowQuantize
from hugectr2onnx.ir.types import N, f32

K = 6


def answers(op, *middle):
    """The rows, and what the model makes of them: bytes and scales."""
    graph = Graph("g")
    x = Relu()(graph.input("x", f32(N, *middle, K)))
    operand = op(x)
    operand.node.name = "operand"
    graph.output({"q": operand.node.results[0], "scale": operand.node.results[1]})
    model = emit(graph, graph_name="g", opset=17, version="0", metadata={}).skeleton
    (relu,) = [node.output[0] for node in model.graph.node if node.op_type == "Relu"]
    rows, found = row_probe.answers(model, operand.node, relu, ("q", "scale"))
    return rows, found["q"], found["scale"]


@pytest.mark.parametrize("middle", [(), (3,)], ids=str)
def test_zeros_negative_rows_extremes_and_nan_are_tried(middle):
    rows, q, scale = answers(RowQuantize(), *middle)
    flat = rows.reshape(len(rows), -1, K)[:, 0]
    assert q.shape == rows.shape and scale.shape == (*rows.shape[:-1], 1)
    assert not flat[0].any()
    assert (flat[1] < 0).all()
    assert 0 < np.abs(flat[2]).max() < np.finfo(np.float32).tiny
    assert np.abs(flat).max(where=np.isfinite(flat), initial=0) > 1e38
    assert np.isnan(flat[-2]).any() and np.isinf(flat[-1]).any()
    np.testing.assert_array_equal(
        np.isnan(scale).reshape(len(rows), -1)[:, 0], [*[False] * (len(rows) - 2), True, True]
    )


def test_rows_of_a_nonnegative_operand_are_not_negative():
    rows, _, _ = answers(RowQuantize(nonnegative=True))
    assert not (rows < 0).any()
