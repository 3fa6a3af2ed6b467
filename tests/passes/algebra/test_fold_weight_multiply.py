"""WeightMultiply folded into the products and sums that follow it."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hugectr2onnx.ir.evaluator import evaluate
from hugectr2onnx.ir.graph import Graph
from hugectr2onnx.ir.ops.elementwise import Relu
from hugectr2onnx.ir.ops.linear import Linear
from hugectr2onnx.ir.ops.reduce import ReduceSum
from hugectr2onnx.ir.ops.shape import Concat, Reshape
from hugectr2onnx.ir.types import N, f32
from hugectr2onnx.passes.algebra.fold_weight_multiply import fold_weight_multiply

RNG = np.random.default_rng(3)


def multiplied(x, vectors):
    """As frontend/layers/weight_multiply.py expands it."""
    features, length = vectors.shape
    apart = Reshape((x.shape[0], features, 1))(x) * x.graph.const(vectors.astype(np.float32))
    return Reshape((x.shape[0], features * length))(apart)


def numbers(*shape):
    return RNG.normal(size=shape).astype(np.float32)


@pytest.fixture
def graph():
    return Graph("g")


def test_a_linear_takes_the_features(graph, apply_pass):
    e, x = graph.input("e", f32(N, 4)), graph.input("x", f32(N, 3))
    joined = Concat(1)(e, multiplied(x, numbers(3, 2)))
    graph.output({"y": Linear(Relu())(joined, graph.const(numbers(10, 5)), graph.const(numbers(5)))})
    assert apply_pass(graph, fold_weight_multiply) == (
        "%e = input() : f32[N, 4]\n"
        "%x = input() : f32[N, 3]\n"
        "%concat = concat(%e, %x) {axis=1} : f32[N, 7]\n"
        "%linear = linear(%concat, %const, %const_2) {activation=relu} : f32[N, 5]\n"
        "return y=%linear"
    )


def test_a_product_takes_the_features(graph, apply_pass):
    x = graph.input("x", f32(N, 3))
    graph.output({"y": multiplied(x, numbers(3, 2)) @ graph.const(numbers(6, 5))})
    assert apply_pass(graph, fold_weight_multiply).splitlines()[1:] == [
        "%mat_mul = mat_mul(%x, %const) : f32[N, 5]",
        "return y=%mat_mul",
    ]


def test_a_sum_becomes_a_product(graph, apply_pass):
    e, x = graph.input("e", f32(N, 4)), graph.input("x", f32(N, 3))
    graph.output({"y": ReduceSum(1)(Concat(1)(e, multiplied(x, numbers(3, 2))))})
    assert apply_pass(graph, fold_weight_multiply).splitlines()[2:] == [
        "%concat = concat(%e, %x) {axis=1} : f32[N, 7]",
        "%mat_mul = mat_mul(%concat, %const) : f32[N, 1]",
        "return y=%mat_mul",
    ]


def test_a_sum_without_its_axis_keeps_its_shape(graph, apply_pass):
    x = graph.input("x", f32(N, 3))
    graph.output({"y": ReduceSum(1, keepdims=False)(multiplied(x, numbers(3, 2)))})
    assert apply_pass(graph, fold_weight_multiply).endswith("reshape(%mat_mul) {shape=[N]} : f32[N]\nreturn y=%reshape")


def test_features_that_were_reshaped_are_flattened_once(graph, apply_pass):
    x = graph.input("x", f32(N, 3, 1))
    columns = Reshape((N, 6))(x * graph.const(numbers(3, 2)))
    graph.output({"y": columns @ graph.const(numbers(6, 5))})
    assert apply_pass(graph, fold_weight_multiply).splitlines()[1:3] == [
        "%reshape = reshape(%x) {shape=[N, 3]} : f32[N, 3]",
        "%mat_mul = mat_mul(%reshape, %const) : f32[N, 5]",
    ]


def test_a_fixed_batch_is_no_obstacle(graph, apply_pass):
    x = graph.input("x", f32(5, 3))
    graph.output({"y": multiplied(x, numbers(3, 2)) @ graph.const(numbers(6, 5))})
    assert "mul(" not in apply_pass(graph, fold_weight_multiply).replace("mat_mul(", "")


def test_by_hand(graph):
    """x = [1, 2], V = [[1, 10], [100, 1000]]: the columns are [1, 10, 200, 2000]; the weight picks the 2nd and the 3rd."""
    x = graph.input("x", f32(N, 2))
    weight = graph.const(np.array([[0], [1], [1], [0]], np.float32))
    graph.output({"y": multiplied(x, np.array([[1, 10], [100, 1000]])) @ weight})
    assert fold_weight_multiply(graph)
    assert evaluate(graph, {"x": np.array([[1.0, 2.0]])})["y"].tolist() == [[210.0]]


def test_declines_where_the_columns_are_needed_anyway_and_the_product_is_narrow(graph):
    e, x = graph.input("e", f32(N, 4)), graph.input("x", f32(N, 3))
    joined = Concat(1)(e, multiplied(x, numbers(3, 2)))
    graph.output({"y": joined @ graph.const(numbers(10, 2)), "columns": joined})
    assert not fold_weight_multiply(graph)


def test_declines_where_nothing_was_multiplied(graph):
    e, x = graph.input("e", f32(N, 4)), graph.input("x", f32(N, 3))
    graph.output({"y": Concat(1)(e, x) @ graph.const(numbers(7, 2))})
    assert not fold_weight_multiply(graph)


def test_declines_a_product_of_two_tensors(graph):
    x, v = graph.input("x", f32(N, 3, 1)), graph.input("v", f32(3, 2))
    graph.output({"y": Reshape((N, 6))(x * v) @ graph.const(numbers(6, 2))})
    assert not fold_weight_multiply(graph)


def test_declines_a_weight_that_is_no_constant(graph):
    x, w = graph.input("x", f32(N, 3)), graph.input("w", f32(6, 2))
    graph.output({"y": multiplied(x, numbers(3, 2)) @ w})
    assert not fold_weight_multiply(graph)


def test_declines_where_a_folded_weight_overflows(graph):
    x = graph.input("x", f32(N, 3))
    graph.output({"y": multiplied(x, np.full((3, 2), 1e30)) @ graph.const(np.full((6, 2), 1e30, np.float32))})
    assert not fold_weight_multiply(graph)


def test_declines_a_sum_over_the_batch(graph):
    x = graph.input("x", f32(5, 3))
    graph.output({"y": ReduceSum(0)(multiplied(x, numbers(3, 2)))})
    assert not fold_weight_multiply(graph)


@settings(max_examples=30, deadline=None)
@given(st.integers(1, 5), st.integers(1, 5), st.integers(1, 4), st.integers(1, 4), st.integers(0, 1 << 30))
def test_the_algebra(plain, features, length, width, seed):
    rng = np.random.default_rng(seed)
    vectors, weight = rng.normal(size=(features, length)), rng.normal(size=(plain + features * length, width))
    vectors, weight = vectors.astype(np.float32), weight.astype(np.float32)
    graph = Graph()
    e, x = graph.input("e", f32(N, plain)), graph.input("x", f32(N, features))
    graph.output({"y": Concat(1)(e, multiplied(x, vectors), e) @ graph.const(np.vstack([weight, weight[:plain]]))})
    feeds = {"e": rng.normal(size=(3, plain)), "x": rng.normal(size=(3, features))}
    columns = (feeds["x"][:, :, None] * vectors).reshape(3, -1)
    expected = 2 * feeds["e"] @ weight[:plain] + columns @ weight[plain:]
    assert fold_weight_multiply(graph)
    np.testing.assert_allclose(evaluate(graph, feeds)["y"], expected, rtol=1e-5, atol=1e-5)
