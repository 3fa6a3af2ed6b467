"""SequenceBias: what a masked softmax adds, and the sides that it is a product of."""

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


def test_rows_that_nothing_is_left_of_lose_it_everywhere():
    bias = SequenceBias(2, 2).evaluate(np.array([[1.0], [2.0]]), np.array([[1.0], [0.0]]))
    assert bias.tolist() == [[[[0, -10000], [-10000, -10000]]], [[[-10000, -10000], [-10000, -10000]]]]


def test_lengths_that_are_no_columns_are_refused():
    with pytest.raises(
        ShapeError, match=r"sequence lengths must be one or two times \[B, 1\], not f32\[N, 2\], f32\[N, 2\]"
    ):
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


EVERY_KIND = pytest.mark.parametrize(
    "sides", [SequenceSides(4), SequenceSides(4, ones=True), SequenceSides(4, every_query=True)], ids=str
)


@EVERY_KIND
def test_the_sides_multiply_to_the_bias(sides):
    columns = sides.evaluate(LENGTHS)
    bias = SequenceBias(1, 4).evaluate(LENGTHS) if sides.every_query else SequenceBias(4, 4).evaluate(LENGTHS, LENGTHS)
    product = columns @ sides.drops @ columns.transpose(0, 2, 1)
    np.testing.assert_array_equal(product, np.broadcast_to(bias[:, 0], product.shape))


@EVERY_KIND
def test_the_bias_comes_from_the_last_columns_alone(sides):
    assert not sides.drops[:, : sides.columns - sides.dropping].any()


@EVERY_KIND
def test_what_a_query_adds_to_all_scores_has_a_place(sides):
    columns = sides.evaluate(LENGTHS)
    assert ((columns[:, :, 0] if sides.has_ones else columns.sum(2)) == 1).all()


@pytest.mark.parametrize(
    ("sides", "behind"),
    [
        (SequenceSides(3), [[1, 0], [1, 0], [0, 1]]),
        (SequenceSides(3, ones=True), [[1, 1, 0], [1, 1, 0], [1, 0, 1]]),
        (SequenceSides(3, every_query=True), [[1, 0], [1, 0], [1, 1]]),
    ],
    ids=str,
)
def test_positions_behind_the_end_have_other_columns(sides, behind):
    assert sides.evaluate(np.array([[2.0]])).tolist() == [behind]


@EVERY_KIND
@pytest.mark.parametrize("opset", [17, 21])
def test_the_expansion_of_the_sides_agrees(sides, opset):
    import onnxruntime

    graph = Graph()
    graph.output({"y": sides(graph.input("length", f32(N, 1)))})
    model = emit(graph, graph_name="t", opset=opset, version="0", metadata={}).inline()
    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    (y,) = session.run(["y"], {"length": LENGTHS})
    np.testing.assert_array_equal(y, sides.evaluate(LENGTHS))
