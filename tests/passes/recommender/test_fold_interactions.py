"""The dot interaction folded into the product that follows it."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hugectr2onnx.ir.evaluator import evaluate
from hugectr2onnx.ir.graph import Graph
from hugectr2onnx.ir.ops.elementwise import Relu
from hugectr2onnx.ir.ops.interaction import DotInteraction
from hugectr2onnx.ir.ops.linear import Linear
from hugectr2onnx.ir.types import N, f32
from hugectr2onnx.passes.recommender.fold_interactions import fold_interactions

RNG = np.random.default_rng(3)


def numbers(*shape):
    return RNG.normal(size=shape).astype(np.float32)


@pytest.fixture
def graph():
    return Graph("g")


def interaction(graph, count, width, batch=N):
    x, e = graph.input("x", f32(batch, width)), graph.input("e", f32(batch, count, width))
    return DotInteraction()(x, e)


def test_the_products_are_taken_one_by_one(graph, apply_pass):
    """Five vectors: neither 2, 3 nor 4 divides them."""
    y = interaction(graph, 4, 2)
    graph.output({"y": Linear(Relu())(y, graph.const(numbers(13, 3)), graph.const(numbers(3)))})
    assert apply_pass(graph, fold_interactions) == (
        "%x = input() : f32[N, 2]\n"
        "%e = input() : f32[N, 4, 2]\n"
        "%reshape = reshape(%x) {shape=[N, 1, 2]} : f32[N, 1, 2]\n"
        "%concat = concat(%reshape, %e) {axis=1} : f32[N, 5, 2]\n"
        "%transpose = transpose(%concat) {perm=[0, 2, 1]} : f32[N, 2, 5]\n"
        "%mat_mul = mat_mul(%concat, %transpose) : f32[N, 5, 5]\n"
        "%reshape_2 = reshape(%mat_mul) {shape=[N, 25]} : f32[N, 25]\n"
        "%take = take(%reshape_2) {axis=1, indices=[5, 10, 11, 15, 16, 17, 20, 21, 22, 23]} : f32[N, 10]\n"
        "%concat_2 = concat(%x, %take) {axis=1} : f32[N, 12]\n"
        "%linear = linear(%concat_2, %const, %const_2) {activation=relu} : f32[N, 3]\n"
        "return y=%linear"
    )


def test_the_27_vectors_of_dlrm_are_taken_in_threes(graph, apply_pass):
    y = interaction(graph, 26, 2)
    graph.output({"y": y @ graph.const(numbers(354, 3))})
    text = apply_pass(graph, fold_interactions)
    assert "reshape(%mat_mul) {shape=[N, 243, 3]} : f32[N, 243, 3]" in text
    assert "concat(%x, %reshape_3) {axis=1} : f32[N, 380]" in text


def test_every_reader_that_is_a_product_folds_it(graph, apply_pass):
    y = interaction(graph, 3, 2)
    graph.output({"a": y @ graph.const(numbers(9, 3)), "b": y @ graph.const(numbers(9, 1))})
    assert "dot_interaction" not in apply_pass(graph, fold_interactions)


def test_a_fixed_batch_is_no_obstacle(graph, apply_pass):
    y = interaction(graph, 3, 2, batch=5)
    graph.output({"y": y @ graph.const(numbers(9, 3))})
    assert "dot_interaction" not in apply_pass(graph, fold_interactions)


def test_by_hand(graph):
    """x = [1, 2] and e = [[3, 4], [5, 6]] give the products 11, 17, 39; the weight keeps the 11 and the 39 apart."""
    y = interaction(graph, 2, 2)
    weight = np.zeros((6, 2), np.float32)
    weight[2, 0] = weight[4, 1] = weight[5, 1] = 1
    graph.output({"y": y @ graph.const(weight)})
    assert fold_interactions(graph)
    feeds = {"x": np.array([[1.0, 2.0]]), "e": np.array([[[3.0, 4.0], [5.0, 6.0]]])}
    assert evaluate(graph, feeds)["y"].tolist() == [[11.0, 39.0]]


def test_declines_where_the_interaction_is_an_output(graph):
    y = interaction(graph, 3, 2)
    graph.output({"y": y @ graph.const(numbers(9, 3)), "interaction": y})
    assert not fold_interactions(graph)


def test_declines_where_something_else_reads_the_interaction(graph):
    y = interaction(graph, 3, 2)
    graph.output({"y": y @ graph.const(numbers(9, 3)), "z": Relu()(y)})
    assert not fold_interactions(graph)


def test_declines_a_weight_that_is_no_constant(graph):
    y = interaction(graph, 3, 2)
    graph.output({"y": y @ graph.input("w", f32(9, 3))})
    assert not fold_interactions(graph)


@settings(max_examples=30, deadline=None)
@given(st.integers(1, 30), st.integers(1, 4), st.integers(0, 1 << 30))
def test_the_algebra_for_every_number_of_vectors(count, width, seed):
    rng = np.random.default_rng(seed)
    weight = rng.normal(size=(width + count * (count + 1) // 2 + 1, 3)).astype(np.float32)
    feeds = {"x": rng.normal(size=(2, width)), "e": rng.normal(size=(2, count, width))}
    graph = Graph()
    graph.output({"y": interaction(graph, count, width) @ graph.const(weight)})
    vectors = np.concatenate([feeds["x"][:, None], feeds["e"]], axis=1)
    pairs = [(vectors[:, i] * vectors[:, j]).sum(1) for i in range(count + 1) for j in range(i)]
    expected = np.column_stack([feeds["x"], *pairs, np.zeros(2)]) @ weight
    assert fold_interactions(graph)
    np.testing.assert_allclose(evaluate(graph, feeds)["y"], expected, rtol=1e-5, atol=1e-5)
