"""Cross networks: the closed form of DCN's and the opened one of DCN v2's."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hugectr2onnx.ir.evaluator import evaluate
from hugectr2onnx.ir.graph import Graph
from hugectr2onnx.ir.ops.cross import CrossNetwork, LowRankCrossNetwork
from hugectr2onnx.ir.types import N, f32
from hugectr2onnx.passes.recommender.expand_cross_networks import expand_cross_networks

RNG = np.random.default_rng(5)


def network(op, *weights, width=3):
    graph = Graph("g")
    x = graph.input("x", f32(N, width))
    graph.output({"y": op(x, *(graph.const(np.asarray(w, np.float32)) for w in weights))})
    return graph


def random_weights(*shapes):
    return [RNG.normal(0, 0.5, shape) for shape in shapes]


def test_layers_become_one_product_and_a_recurrence(apply_pass):
    graph = network(CrossNetwork(), *random_weights((3, 1), (3,), (3, 1), (3,)))
    assert apply_pass(graph, expand_cross_networks) == (
        "%x = input() : f32[N, 3]\n"
        "%linear = linear(%x, %const, %const_2) : f32[N, 2]\n"
        "%split, %split_2 = split(%linear) {axis=1, sizes=[1, 1]} : f32[N, 1], f32[N, 1]\n"
        "%mul = mul(%split, %split_2) : f32[N, 1]\n"
        "%add = add(%mul, %const_3) : f32[N, 1]\n"
        "%mul_2 = mul(%add, %x) : f32[N, 3]\n"
        "%add_2 = add(%mul_2, %const_4) : f32[N, 3]\n"
        "return y=%add_2"
    )


def test_without_biases_the_factors_are_multiplied_alone(apply_pass):
    zero = np.zeros(3)
    text = apply_pass(network(CrossNetwork(), np.ones((3, 1)), zero, np.ones((3, 1)), zero), expand_cross_networks)
    assert "add" not in text


def test_the_value_is_the_one_computed_by_hand():
    """x = [1, 2], w0 = w1 = [1, 0]: x1 = 1 * x + x + [1, 1] = [3, 5]; x2 = 3 * x + x1 + [0, 2] = [6, 13]"""
    graph = network(CrossNetwork(), [[1], [0]], [1, 1], [[1], [0]], [0, 2], width=2)
    expand_cross_networks(graph)
    assert evaluate(graph, {"x": np.array([[1.0, 2.0]])})["y"].tolist() == [[6.0, 13.0]]


def test_one_layer_needs_no_split(apply_pass):
    text = apply_pass(network(CrossNetwork(), *random_weights((3, 1), (3,))), expand_cross_networks)
    assert "split" not in text


def test_no_layer_is_no_operation(apply_pass):
    assert apply_pass(network(CrossNetwork()), expand_cross_networks).endswith("return y=%x")


def test_low_rank_layers_become_products_with_a_bias(apply_pass):
    graph = network(LowRankCrossNetwork(), *random_weights((3, 2), (2, 3), (3,), (3, 2), (2, 3), (3,)))
    assert apply_pass(graph, expand_cross_networks) == (
        "%x = input() : f32[N, 3]\n"
        "%mat_mul = mat_mul(%x, %const) : f32[N, 2]\n"
        "%linear = linear(%mat_mul, %const_2, %const_3) : f32[N, 3]\n"
        "%mul = mul(%x, %linear) : f32[N, 3]\n"
        "%mat_mul_2 = mat_mul(%mul, %const_4) : f32[N, 2]\n"
        "%linear_2 = linear(%mat_mul_2, %const_5, %const_6) : f32[N, 3]\n"
        "%mul_2 = mul(%x, %linear_2) : f32[N, 3]\n"
        "%add = add(%mul_2, %mul) : f32[N, 3]\n"
        "return y=%add"
    )


@pytest.mark.parametrize(
    "op, shapes", [(CrossNetwork(), [(3, 1), (3,)]), (LowRankCrossNetwork(), [(3, 2), (2, 3), (3,)])]
)
def test_declines_where_weights_are_not_constant(op, shapes):
    graph = Graph()
    x, *weights = (graph.input(f"x{i}", f32(*shape)) for i, shape in enumerate([(N, 3), *shapes]))
    graph.output({"y": op(x, *weights)})
    assert not expand_cross_networks(graph)


def test_declines_where_a_constant_overflows_float32():
    graph = network(CrossNetwork(), np.full((3, 1), 1e20), np.full(3, 1e20), np.full((3, 1), 1e20), np.zeros(3))
    assert not expand_cross_networks(graph)


@pytest.mark.parametrize("bad", [np.inf, np.nan])
def test_declines_where_a_weight_is_not_finite(bad):
    assert not expand_cross_networks(network(CrossNetwork(), [[bad], [0], [0]], np.zeros(3)))


@settings(max_examples=60, deadline=None)
@given(st.integers(1, 5), st.integers(1, 9), st.floats(-3, 3), st.floats(-3, 3), st.integers(0, 1 << 30))
def test_in_float32_it_errs_no_more_than_the_layers_do(layers, width, weight_scale, bias_scale, seed):
    """Weights and biases from a thousandth to a thousand, by the parity rule with eight times the noise."""
    rng = np.random.default_rng(seed)
    weights = [
        10.0**scale * rng.normal(size=shape)
        for _ in range(layers)
        for scale, shape in ((weight_scale, (width, 1)), (bias_scale, (width,)))
    ]
    graph = network(CrossNetwork(), *weights, width=width)
    feeds = {"x": rng.normal(size=(64, width)).astype(np.float32)}
    exact, rounded = evaluate(graph, feeds)["y"], evaluate(graph, feeds, precision=np.float32)["y"]
    expand_cross_networks(graph)
    found = evaluate(graph, feeds, precision=np.float32)["y"]
    noise = 8 * np.abs(rounded - exact).max()
    assert np.all(np.abs(found - exact) <= np.maximum(1e-5 + 1e-5 * np.abs(exact), noise))
