"""drop_softmax_shift: softmax takes no notice of what it is the same for all scores."""

from __future__ import annotations

import numpy as np
import pytest

from hugectr2onnx.ir.graph import Graph
from hugectr2onnx.ir.ops.reduce import ReduceSum, Softmax
from hugectr2onnx.ir.ops.shape import Repeat, Reshape
from hugectr2onnx.ir.types import Batch, N, f32
from hugectr2onnx.passes.algebra.drop_softmax_shift import drop_softmax_shift

ROWS = Batch(N.factor * 6)


def scored(factor: int = 3, last: int = 3, *, public: bool = False) -> Graph:
    """Scores [6N, 1] and a shift repeated `factor` times, in groups of `last`."""
    graph = Graph("g")
    x = graph.input("x", f32(ROWS, 1))
    c = graph.input("c", f32(Batch(ROWS.factor / factor), 1))
    scores = Reshape((Batch(ROWS.factor / last), last))(x + Repeat(0, factor)(c))
    p = Softmax()(scores)
    graph.output({"p": p} if public else {"y": ReduceSum(1)(p * p)})
    return graph


def test_the_shift_goes(prove, lines):
    graph = scored()
    assert prove(graph, drop_softmax_shift) == {"drop_repeated_shift": 1}
    assert lines(graph) == [
        "%reshape = reshape(%x) {shape=[2N, 3]} : f32[2N, 3]",
        "%softmax = softmax(%reshape) : f32[2N, 3]",
        "%mul = mul(%softmax, %softmax) : f32[2N, 3]",
        "%reduce_sum = reduce_sum(%mul) {axis=1} : f32[2N, 1]",
    ]


@pytest.mark.parametrize(
    "graph",
    [scored(factor=2, last=3), scored(factor=3, last=6), scored(public=True)],
    ids=["groups of another length", "two shifts a group", "an output, whose logits stay in sight"],
)
def test_declines(graph):
    text = str(graph)
    assert not drop_softmax_shift(graph)
    assert str(graph) == text


def test_a_shift_of_one_number_a_column_stays():
    graph = Graph("g")
    x, c = graph.input("x", f32(ROWS, 2)), graph.input("c", f32(Batch(ROWS.factor / 2), 2))
    p = Softmax()(Reshape((Batch(ROWS.factor), 2))(x + Repeat(0, 2)(c)))
    graph.output({"y": p * 2.0})
    assert not drop_softmax_shift(graph)


def test_large_shifts_leave_the_scores_exact(prove):
    graph = scored()
    drop_softmax_shift(graph)
    x = np.zeros((6, 1), np.float32)
    x[0] = 1e-3
    from hugectr2onnx.ir.evaluator import evaluate

    y = evaluate(graph, {"x": x, "c": np.full((2, 1), 1e8, np.float32)}, precision=np.float32)["y"]
    p = np.exp([1e-3, 0, 0]) / np.exp([1e-3, 0, 0]).sum()
    np.testing.assert_allclose(y[0, 0], (p * p).sum(), rtol=1e-6)
