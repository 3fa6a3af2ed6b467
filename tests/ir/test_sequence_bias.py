"""SequenceBias: what a masked softmax subtracts, row by row up to a number."""

from __future__ import annotations

import numpy as np
import pytest

from hugectr2onnx.backend.onnx.emitter import emit
from hugectr2onnx.errors import ShapeError
from hugectr2onnx.ir.graph import Graph
from hugectr2onnx.ir.ops import sequence_mask
from hugectr2onnx.ir.ops.sequence_mask import SequenceBias, SequenceSides
from hugectr2onnx.ir.types import N, f32

LENGTHS = np.array([0, 1, 2.9, 3, 99, -1, np.nan, np.inf, -np.inf, 1e30], np.float32)[:, None]


def test_positions_behind_the_end_lose_ten_thousand():
    bias = SequenceBias(1, 4).evaluate(np.array([[2.0]]))
    assert bias.tolist() == [[[[0, 0, -10000, -10000]]]]


def test_rows_that_nothing_is_left_of_lose_nothing():
    bias = SequenceBias(3, 2).evaluate(np.array([[1.0], [2.0]]), np.array([[1.0], [0.0]]))
    assert bias.tolist() == [[[[0, -10000], [0, 0], [0, 0]]], [[[0, 0], [0, 0], [0, 0]]]]


def test_lengths_that_are_no_columns_are_refused():
    with pytest.raises(ShapeError):
        SequenceBias(2, 2).infer(f32(N, 2), f32(N, 2))


@pytest.mark.parametrize("small", [True, False], ids=["as a table", "as comparisons"])
@pytest.mark.parametrize("case", ["one length", "the same twice", "two lengths"])
@pytest.mark.parametrize("opset", [17, 21])
def test_the_expansion_agrees(case, small, opset, monkeypatch):
    import onnxruntime

    monkeypatch.setattr(sequence_mask, "LARGEST_TABLE", 1 << 16 if small else 0)
    graph = Graph()
    one = graph.input("to", f32(N, 1))
    operands = {
        "one length": (one,),
        "the same twice": (one, one),
        "two lengths": (graph.input("from", f32(N, 1)), one),
    }
    op = SequenceBias(1 if case == "one length" else 3, 4)
    graph.output({"y": op(*operands[case])})
    model = emit(graph, graph_name="t", opset=opset, version="0", metadata={}).inline()
    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    feeds = {"to": LENGTHS, "from": np.roll(LENGTHS, 3, 0)}
    (y,) = session.run(["y"], {entry.name: feeds[entry.name] for entry in session.get_inputs()})
    np.testing.assert_array_equal(y, op.evaluate(*(feeds[v.node.name] for v in operands[case])))


@pytest.mark.parametrize("every_query", [False, True])
def test_the_sides_multiply_to_the_bias(every_query):
    sides = SequenceSides(4, every_query).evaluate(LENGTHS)
    bias = SequenceBias(1, 4).evaluate(LENGTHS) if every_query else SequenceBias(4, 4).evaluate(LENGTHS, LENGTHS)
    product = -10000 * sides[:, :, 0][:, :, None] * sides[:, :, 1][:, None, :]
    np.testing.assert_array_equal(product, np.broadcast_to(bias[:, 0], product.shape))


def test_one_of_the_sides_holds():
    assert (SequenceSides(4).evaluate(LENGTHS).sum(2) == 1).all()
    assert SequenceSides(3).evaluate(np.array([[2.0]])).tolist() == [[[1, 0], [1, 0], [0, 1]]]


@pytest.mark.parametrize("every_query", [False, True])
@pytest.mark.parametrize("opset", [17, 21])
def test_the_expansion_of_the_sides_agrees(every_query, opset):
    import onnxruntime

    graph, op = Graph(), SequenceSides(4, every_query)
    graph.output({"y": op(graph.input("length", f32(N, 1)))})
    model = emit(graph, graph_name="t", opset=opset, version="0", metadata={}).inline()
    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    (y,) = session.run(["y"], {"length": LENGTHS})
    np.testing.assert_array_equal(y, op.evaluate(LENGTHS))
