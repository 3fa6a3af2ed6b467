"""Weighted sums of the same matrices."""

from __future__ import annotations

import numpy as np
import pytest

from hugectr2onnx.ir.ops.elementwise import Relu
from hugectr2onnx.ir.ops.split import Split
from hugectr2onnx.ir.types import N, f32
from hugectr2onnx.passes.recommender.batch_expert_products import batch_expert_products


def pieces(graph, count):
    return Split(1, (1,) * count)(graph.input("g", f32(N, count))).node.results


def experts(graph, count, width=4):
    return [graph.input(f"h{i}", f32(N, width)) for i in range(count)]


def mixed(weights, matrices):
    total = weights[0] * matrices[0]
    for weight, matrix in zip(weights[1:], matrices[1:], strict=True):
        total = total + matrix * weight
    return total


def test_two_tasks(graph, apply_pass):
    g, h = pieces(graph, 6), experts(graph, 3)
    graph.output({"a": mixed(g[:3], h), "b": mixed(g[3:], h)})
    assert apply_pass(graph, batch_expert_products).splitlines()[4:] == [
        "%reshape = reshape(%g) {shape=[N, 2, 3]} : f32[N, 2, 3]",
        "%concat = concat(%h0, %h1, %h2) {axis=1} : f32[N, 12]",
        "%reshape_2 = reshape(%concat) {shape=[N, 3, 4]} : f32[N, 3, 4]",
        "%mat_mul = mat_mul(%reshape, %reshape_2) : f32[N, 2, 4]",
        "%reshape_3 = reshape(%mat_mul) {shape=[N, 8]} : f32[N, 8]",
        "%split, %split_2 = split(%reshape_3) {axis=1, sizes=[4, 4]} : f32[N, 4], f32[N, 4]",
        "return a=%split, b=%split_2",
    ]


def test_one_task(graph, apply_pass):
    graph.output({"y": mixed(pieces(graph, 6), experts(graph, 6))})
    text = apply_pass(graph, batch_expert_products)
    assert "split" not in text
    assert "%reshape_3 = reshape(%mat_mul) {shape=[N, 4]} : f32[N, 4]" in text


def test_in_any_order_of_additions(graph, apply_pass):
    g, h = pieces(graph, 6), experts(graph, 3)
    second = g[5] * h[2] + (h[1] * g[4] + h[0] * g[3])
    graph.output({"a": mixed(g[:3], h), "b": Relu()(second)})
    assert "mul(" not in apply_pass(graph, batch_expert_products).replace("mat_mul(", "")


@pytest.mark.parametrize(
    "build",
    [
        lambda g, h: (mixed(g[:2], h[:2]), mixed(g[2:4], h[:2])),
        lambda g, h: (mixed(g[:3], h), mixed(g[3:], [h[1], h[0], h[2]])),
        lambda g, h: (mixed(g[:3], h), mixed(g[3:], h) + h[0]),
        lambda g, h: (mixed(g[:3], h), Relu()(g[3]) * h[0] + g[4] * h[1] + g[5] * h[2]),
        lambda g, h: (mixed(g[:4], [*h, h[0]]), mixed(g[4:], h[:2])),
        lambda g, h: (mixed(g[:3], [h[0], h[0], h[2]]), mixed(g[3:], [h[0], h[0], h[2]])),
    ],
    ids=["few", "another order", "something added", "something between", "different lengths", "one twice"],
)
def test_declines(build, graph):
    a, b = build(pieces(graph, 6), experts(graph, 3))
    graph.output({"a": a, "b": b})
    assert not batch_expert_products(graph)


def test_declines_rows_that_are_repeated(graph):
    """A matrix of one row is no matrix for each sample."""
    g = pieces(graph, 6)
    rows = [graph.const(np.full((1, 4), i, np.float32)) for i in range(3)]
    graph.output({"a": mixed(g[:3], rows), "b": mixed(g[3:], rows)})
    assert not batch_expert_products(graph)


def test_declines_experts_of_three_dimensions(graph):
    """Numbers that broadcast over rows of a matrix for all samples."""
    g = Split(1, (1,) * 6)(graph.input("g", f32(4, 6))).node.results
    h = [graph.input(f"h{i}", f32(2, 4, 3)) for i in range(3)]
    graph.output({"a": mixed(g[:3], h), "b": mixed(g[3:], h)})
    assert not batch_expert_products(graph)


def test_declines_sums_without_end(graph):
    g, h = pieces(graph, 300), experts(graph, 300, 1)
    graph.output({"y": mixed(g, h)})
    assert not batch_expert_products(graph)


def test_declines_pieces_of_several_columns(graph):
    halves = Split(1, (3, 3))(graph.input("g", f32(N, 6))).node.results
    graph.output({"y": halves[0] * graph.input("h", f32(N, 3)) + halves[1]})
    assert not batch_expert_products(graph)
