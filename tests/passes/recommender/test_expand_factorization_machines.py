"""Factorization machines as matrix products."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hugectr2onnx.ir.evaluator import evaluate
from hugectr2onnx.ir.graph import Graph
from hugectr2onnx.ir.ops.factorization import FactorizationMachine
from hugectr2onnx.ir.ops.reduce import ReduceSum
from hugectr2onnx.ir.ops.shape import Concat, Reshape
from hugectr2onnx.ir.types import N, f32
from hugectr2onnx.passes.recommender.expand_factorization_machines import expand_factorization_machines

RNG = np.random.default_rng(3)


def numbers(*shape):
    return RNG.normal(size=shape).astype(np.float32)


def multiplied(x, vectors):
    features, length = vectors.shape
    apart = Reshape((x.shape[0], features, 1))(x) * x.graph.const(vectors)
    return Reshape((x.shape[0], features * length))(apart)


def machine(columns, width):
    slots = columns.shape[1] // width
    return FactorizationMachine()(Reshape((columns.shape[0], slots, width))(columns))


@pytest.fixture
def graph():
    return Graph("g")


def test_features_with_vectors_become_two_products(graph, apply_pass):
    x = graph.input("x", f32(N, 5))
    graph.output({"y": machine(multiplied(x, numbers(5, 4)), 4)})
    assert apply_pass(graph, expand_factorization_machines) == (
        "%x = input() : f32[N, 5]\n"
        "%mat_mul = mat_mul(%x, %const) : f32[N, 4]\n"
        "%mul = mul(%mat_mul, %mat_mul) : f32[N, 4]\n"
        "%mul_2 = mul(%mul, %const_2) : f32[N, 4]\n"
        "%mul_3 = mul(%x, %x) : f32[N, 5]\n"
        "%mat_mul_2 = mat_mul(%mul_3, %const_3) : f32[N, 4]\n"
        "%add = add(%mul_2, %mat_mul_2) : f32[N, 4]\n"
        "return y=%add"
    )


def test_the_sum_of_a_machine_needs_no_vectors_of_squares(graph, apply_pass):
    """As in DeepFM: embeddings and features with vectors, summed."""
    e, x = graph.input("e", f32(N, 8)), graph.input("x", f32(N, 3))
    graph.output({"y": ReduceSum(1)(machine(Concat(1)(e, multiplied(x, numbers(3, 4))), 4))})
    assert apply_pass(graph, expand_factorization_machines) == (
        "%e = input() : f32[N, 8]\n"
        "%x = input() : f32[N, 3]\n"
        "%concat = concat(%e, %x) {axis=1} : f32[N, 11]\n"
        "%mat_mul = mat_mul(%concat, %const) : f32[N, 4]\n"
        "%mul = mul(%mat_mul, %mat_mul) : f32[N, 4]\n"
        "%mat_mul_2 = mat_mul(%mul, %const_2) : f32[N, 1]\n"
        "%mul_2 = mul(%concat, %concat) : f32[N, 11]\n"
        "%mat_mul_3 = mat_mul(%mul_2, %const_3) : f32[N, 1]\n"
        "%add = add(%mat_mul_2, %mat_mul_3) : f32[N, 1]\n"
        "return y=%add"
    )


def test_a_sum_without_its_axis_keeps_its_shape(graph, apply_pass):
    x = graph.input("x", f32(N, 5))
    graph.output({"y": ReduceSum(1, keepdims=False)(machine(multiplied(x, numbers(5, 4)), 4))})
    assert apply_pass(graph, expand_factorization_machines).endswith("{shape=[N]} : f32[N]\nreturn y=%reshape")


def test_embeddings_of_three_dimensions_are_flattened(graph, apply_pass):
    graph.output({"y": FactorizationMachine()(graph.input("e", f32(N, 6, 4)))})
    assert apply_pass(graph, expand_factorization_machines).splitlines()[1:3] == [
        "%reshape = reshape(%e) {shape=[N, 24]} : f32[N, 24]",
        "%mat_mul = mat_mul(%reshape, %const) : f32[N, 4]",
    ]


def test_by_hand(graph):
    """Slots [1, 2], [3, 4] and 2 * [1, 1]: the pairs give [1*3 + 1*2 + 3*2, 2*4 + 2*2 + 4*2] = [11, 20]."""
    e, x = graph.input("e", f32(N, 4)), graph.input("x", f32(N, 1))
    graph.output({"y": machine(Concat(1)(e, multiplied(x, np.ones((1, 2), np.float32))), 2)})
    assert expand_factorization_machines(graph)
    feeds = {"e": np.array([[1.0, 2.0, 3.0, 4.0]]), "x": np.array([[2.0]])}
    assert evaluate(graph, feeds)["y"].tolist() == [[11.0, 20.0]]


def test_declines_wide_embeddings(graph):
    graph.output({"y": FactorizationMachine()(graph.input("e", f32(N, 6, 16)))})
    assert not expand_factorization_machines(graph)


def test_declines_wide_embeddings_beside_features(graph):
    e, x = graph.input("e", f32(N, 64)), graph.input("x", f32(N, 3))
    graph.output({"y": machine(Concat(1)(e, multiplied(x, numbers(3, 32))), 32)})
    assert not expand_factorization_machines(graph)


def test_takes_features_alone_however_wide(graph, apply_pass):
    x = graph.input("x", f32(N, 5))
    graph.output({"y": machine(multiplied(x, numbers(5, 32)), 32)})
    assert "factorization_machine" not in apply_pass(graph, expand_factorization_machines)


def test_declines_where_slots_and_vectors_do_not_meet(graph):
    """Three features of four numbers, taken as six slots of two."""
    e, x = graph.input("e", f32(N, 4)), graph.input("x", f32(N, 3))
    graph.output({"y": machine(Concat(1)(e, multiplied(x, numbers(3, 4))), 2)})
    assert not expand_factorization_machines(graph)


def test_declines_where_a_slot_spans_two_parts(graph):
    graph.output({"y": machine(Concat(1)(graph.input("a", f32(N, 3)), graph.input("b", f32(N, 5))), 4)})
    assert not expand_factorization_machines(graph)


def test_declines_where_a_square_overflows(graph):
    x = graph.input("x", f32(N, 2))
    graph.output({"y": machine(multiplied(x, np.full((2, 4), 1e25, np.float32)), 4)})
    assert not expand_factorization_machines(graph)


def test_a_machine_with_another_reader_is_summed_apart(graph, apply_pass):
    x = graph.input("x", f32(N, 5))
    y = machine(multiplied(x, numbers(5, 4)), 4)
    graph.output({"y": y, "sum": ReduceSum(1)(y)})
    assert "reduce_sum" in apply_pass(graph, expand_factorization_machines)


def test_declines_a_single_slot(graph):
    """Its value is 0, and stays that only if a square is taken away from its very self."""
    graph.output({"y": machine(multiplied(graph.input("x", f32(N, 1)), numbers(1, 4)), 4)})
    assert not expand_factorization_machines(graph)


def test_one_feature_alone_leaves_as_much_as_its_square_is_rounded(graph):
    """The layers give 0 exactly, as they take a square from its very self."""
    x = graph.input("x", f32(N, 20))
    vectors = numbers(20, 8)
    graph.output({"y": machine(multiplied(x, vectors), 8)})
    feeds = {"x": np.diag(10.0 ** RNG.uniform(-3, 5, 20)).astype(np.float32)}
    assert not evaluate(graph, feeds, precision=np.float32)["y"].any()
    assert expand_factorization_machines(graph)
    squares = np.square(feeds["x"].diagonal()[:, None] * vectors.astype(np.float64)) / 2
    assert np.all(np.abs(evaluate(graph, feeds, precision=np.float32)["y"]) <= 5 * 2**-24 * squares)


@settings(max_examples=60, deadline=None)
@given(
    st.integers(0, 4), st.integers(2, 5), st.integers(1, 6), st.floats(-3, 3), st.booleans(), st.integers(0, 1 << 30)
)
def test_in_float32_it_errs_no_more_than_the_plain_expansion(slots, features, width, scale, summed, seed):
    """By the parity rule, with eight times the noise; few slots make the two sums cancel most."""
    rng = np.random.default_rng(seed)
    graph = Graph()
    x = graph.input("x", f32(N, features))
    vectors = (10.0**scale * rng.normal(size=(features, width))).astype(np.float32)
    columns = multiplied(x, vectors)
    feeds = {"x": rng.normal(size=(64, features)).astype(np.float32)}
    z = feeds["x"][:, :, None] * vectors.astype(np.float64)
    if slots:
        columns = Concat(1)(graph.input("e", f32(N, slots * width)), columns)
        feeds["e"] = rng.normal(size=(64, slots * width)).astype(np.float32)
        z = np.concatenate([feeds["e"].reshape(64, slots, width), z], 1)
    y = machine(columns, width)
    graph.output({"y": ReduceSum(1)(y) if summed else y})
    exact, rounded = (z.sum(1) ** 2 - (z**2).sum(1)) / 2, evaluate(graph, feeds, precision=np.float32)["y"]
    exact = exact.sum(1, keepdims=True) if summed else exact
    assert expand_factorization_machines(graph)
    found = evaluate(graph, feeds, precision=np.float32)["y"]
    noise = 8 * np.abs(rounded - exact).max()
    assert np.all(np.abs(found - exact) <= np.maximum(1e-5 + 1e-5 * np.abs(exact), noise))
