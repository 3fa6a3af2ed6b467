"""Softmaxes of equal pieces merged."""

from __future__ import annotations

import pytest

from hugectr2onnx.ir.graph import Graph
from hugectr2onnx.ir.ops.elementwise import Relu
from hugectr2onnx.ir.ops.reduce import Softmax
from hugectr2onnx.ir.ops.split import Split
from hugectr2onnx.ir.types import N, f32
from hugectr2onnx.passes.algebra.merge_softmaxes import merge_softmaxes


@pytest.fixture
def graph():
    return Graph("g")


def split(graph, *sizes, axis=1):
    return Split(axis, sizes)(graph.input("x", f32(N, sum(sizes)))).node.results


def test_gates_of_two_tasks(graph, apply_pass):
    """The first is used whole, the second number by number."""
    a, b = (Softmax()(piece) for piece in split(graph, 2, 2))
    first, second = Split(1, (1, 1))(b).node.results
    graph.output({"a": Relu()(a), "b0": Relu()(first), "b1": Relu()(second)})
    assert apply_pass(graph, merge_softmaxes) == (
        "%x = input() : f32[N, 4]\n"
        "%reshape = reshape(%x) {shape=[N, 2, 2]} : f32[N, 2, 2]\n"
        "%softmax = softmax(%reshape) : f32[N, 2, 2]\n"
        "%reshape_2 = reshape(%softmax) {shape=[N, 4]} : f32[N, 4]\n"
        "%split, %split_2, %split_3 = split(%reshape_2) {axis=1, sizes=[2, 1, 1]} : f32[N, 2], f32[N, 1], f32[N, 1]\n"
        "%relu = relu(%split) : f32[N, 2]\n"
        "%relu_2 = relu(%split_2) : f32[N, 1]\n"
        "%relu_3 = relu(%split_3) : f32[N, 1]\n"
        "return a=%relu, b0=%relu_2, b1=%relu_3"
    )


def test_declines_pieces_of_different_lengths(graph):
    a, b = (Softmax()(piece) for piece in split(graph, 2, 3))
    graph.output({"a": Relu()(a), "b": Relu()(b)})
    assert not merge_softmaxes(graph)


def test_declines_predictions(graph):
    """Their logits stay in sight."""
    a, b = (Softmax()(piece) for piece in split(graph, 2, 2))
    graph.output({"a": a, "b": b})
    assert not merge_softmaxes(graph)


def test_declines_where_a_piece_has_another_reader(graph):
    a, b = split(graph, 2, 2)
    graph.output({"a": Relu()(Softmax()(a)), "b": Relu()(Softmax()(b)), "piece": b})
    assert not merge_softmaxes(graph)


def test_declines_where_one_piece_is_not_normalized(graph):
    a, b = split(graph, 2, 2)
    graph.output({"a": Relu()(Softmax()(a)), "b": Relu()(b)})
    assert not merge_softmaxes(graph)


def test_declines_three_dimensions(graph):
    a, b = Split(1, (2, 2))(graph.input("x", f32(N, 4, 3))).node.results
    graph.output({"a": Relu()(Softmax()(a)), "b": Relu()(Softmax()(b))})
    assert not merge_softmaxes(graph)
