"""Linear chains folded into one product."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hugectr2onnx.ir.evaluator import evaluate
from hugectr2onnx.ir.graph import Graph
from hugectr2onnx.ir.ops.elementwise import Relu
from hugectr2onnx.ir.ops.linear import Linear
from hugectr2onnx.ir.types import N, f32
from hugectr2onnx.passes.algebra.fold_linear_chains import fold_linear_chains

RNG = np.random.default_rng(3)


@pytest.fixture
def graph():
    return Graph("g")


def const(graph, *shape):
    return graph.const(RNG.normal(size=shape).astype(np.float32))


def linear(x, n, activation=None):
    return Linear(activation)(x, const(x.graph, x.shape[-1], n), const(x.graph, n))


ONE_LINEAR = ["%linear = linear(%x, %const, %const_2) : f32[N, 2]", "return y=%linear"]


@pytest.mark.parametrize(
    "build",
    [
        lambda x: linear(linear(x, 4), 2),
        lambda x: linear(x @ const(x.graph, 3, 4), 2),
        lambda x: linear(x, 4) @ const(x.graph, 4, 2),
        lambda x: linear(x, 2) * const(x.graph, 2),
        lambda x: linear(x, 2) * 3.0,
        lambda x: linear(x, 2) + const(x.graph, 2),
        lambda x: linear(x, 2) + const(x.graph, 1, 2),
        lambda x: linear(x * const(x.graph, 3), 2),
        lambda x: linear(x * 3.0, 2),
        lambda x: linear(x + const(x.graph, 3), 2),
        lambda x: (x + const(x.graph, 3)) @ const(x.graph, 3, 2),
        lambda x: linear((x + const(x.graph, 3)) * const(x.graph, 3), 2) * const(x.graph, 2) + 1.0,
    ],
    ids=[
        "two linears",
        "product, linear",
        "linear, product",
        "linear, scale",
        "linear, number",
        "linear, shift",
        "linear, row",
        "scale, linear",
        "number, linear",
        "shift, linear",
        "shift, product",
        "all of them",
    ],
)
def test_one_linear_is_left(build, graph, apply_pass):
    graph.output({"y": build(graph.input("x", f32(N, 3)))})
    assert apply_pass(graph, fold_linear_chains).splitlines()[1:] == ONE_LINEAR


@pytest.mark.parametrize(
    "build",
    [
        lambda x: x @ const(x.graph, 3, 4) @ const(x.graph, 4, 2),
        lambda x: (x @ const(x.graph, 3, 2)) * const(x.graph, 2),
        lambda x: (x * const(x.graph, 3)) @ const(x.graph, 3, 2),
    ],
    ids=["two products", "product, scale", "scale, product"],
)
def test_one_product_is_left(build, graph, apply_pass):
    graph.output({"y": build(graph.input("x", f32(N, 3)))})
    assert apply_pass(graph, fold_linear_chains).splitlines()[1:] == [
        "%mat_mul = mat_mul(%x, %const) : f32[N, 2]",
        "return y=%mat_mul",
    ]


def test_the_activation_of_the_last_stays(graph, apply_pass):
    graph.output({"y": linear(linear(graph.input("x", f32(N, 3)), 4), 2, Relu())})
    assert apply_pass(graph, fold_linear_chains).splitlines()[1].endswith("{activation=relu} : f32[N, 2]")


def test_three_dimensions_are_no_obstacle(graph, apply_pass):
    graph.output({"y": linear(linear(graph.input("x", f32(N, 5, 3)), 4), 2)})
    assert apply_pass(graph, fold_linear_chains).count("linear(") == 1


def test_declines_a_bottleneck(graph):
    """8 * 2 + 2 * 8 multiplications a sample against 8 * 8."""
    graph.output({"y": linear(linear(graph.input("x", f32(N, 8)), 2), 8)})
    assert not fold_linear_chains(graph)


def test_takes_a_bottleneck_that_costs_as_much(graph, apply_pass):
    """8 * 4 + 4 * 8 multiplications a sample, and 8 * 8."""
    graph.output({"y": linear(linear(graph.input("x", f32(N, 8)), 4), 8)})
    assert apply_pass(graph, fold_linear_chains).count("linear(") == 1


def test_declines_an_activation_in_between(graph):
    graph.output({"y": linear(linear(graph.input("x", f32(N, 3)), 4, Relu()), 2)})
    assert not fold_linear_chains(graph)


def test_declines_a_scale_after_an_activation(graph):
    graph.output({"y": linear(graph.input("x", f32(N, 3)), 4, Relu()) * 3.0})
    assert not fold_linear_chains(graph)


def test_declines_where_something_else_reads_the_first(graph):
    first = linear(graph.input("x", f32(N, 3)), 4)
    graph.output({"y": linear(first, 2), "first": first})
    assert not fold_linear_chains(graph)


def test_declines_a_scale_that_broadcasts_to_more(graph):
    graph.output({"y": linear(graph.input("x", f32(1, 3)), 2) * const(graph, 5, 2)})
    assert not fold_linear_chains(graph)


def test_declines_a_scale_of_rows(graph):
    graph.output({"y": linear(graph.input("x", f32(2, 3)), 2) * const(graph, 2, 1)})
    assert not fold_linear_chains(graph)


def test_declines_a_scale_that_is_no_constant(graph):
    graph.output({"y": linear(graph.input("x", f32(N, 3)), 2) * graph.input("s", f32(2))})
    assert not fold_linear_chains(graph)


def test_declines_the_constant_operand_of_a_product(graph):
    """The product is on the right: its weight is not a constant."""
    x = graph.input("x", f32(3, 3))
    graph.output({"y": const(graph, 2, 3) @ (x * 2.0)})
    assert not fold_linear_chains(graph)


def test_declines_a_shift_so_far_that_it_would_cancel(graph):
    x = graph.input("x", f32(N, 3))
    graph.output({"y": linear(x + 1e6, 2)})
    assert not fold_linear_chains(graph)


def test_declines_where_a_folded_weight_overflows(graph):
    huge = np.full((3, 3), 1e30, np.float32)
    graph.output({"y": graph.input("x", f32(N, 3)) @ graph.const(huge) @ graph.const(huge)})
    assert not fold_linear_chains(graph)


@settings(max_examples=40, deadline=None)
@given(st.integers(1, 6), st.integers(6, 12), st.integers(1, 6), st.integers(0, 1 << 30))
def test_the_algebra(k, middle, n, seed):
    rng = np.random.default_rng(seed)
    arrays = [
        rng.normal(size=s).astype(np.float32) for s in ((k,), (k,), (k, middle), (middle,), (middle, n), (n,), (n,))
    ]
    graph = Graph()
    shift, scale, w1, b1, w2, b2, last = (graph.const(array) for array in arrays)
    first = Linear()((graph.input("x", f32(N, k)) + shift) * scale, w1, b1)
    graph.output({"y": Linear()(first, w2, b2) * last})
    x = rng.normal(size=(3, k))
    shift, scale, w1, b1, w2, b2, last = arrays
    expected = (((x + shift) * scale) @ w1.astype(float) + b1) @ w2.astype(float) + b2
    assert fold_linear_chains(graph)
    assert len(graph) == 1
    np.testing.assert_allclose(evaluate(graph, {"x": x})["y"], expected * last, rtol=1e-5, atol=1e-4)


def test_a_product_takes_over_the_scale_before_it(graph):
    x = graph.input("x", f32(N, 3))
    graph.output({"y": (x * const(graph, 3)) @ const(graph, 3, 2)})
    feeds = {"x": RNG.normal(size=(4, 3)).astype(np.float32)}
    before = evaluate(graph, feeds)["y"]
    assert fold_linear_chains(graph) == {"product_of_scaled": 1}
    assert str(graph).splitlines()[2:4] == ["  %mat_mul = mat_mul(%x, %const) : f32[N, 2]", "  return y=%mat_mul"]
    np.testing.assert_allclose(evaluate(graph, feeds)["y"], before, rtol=1e-5, atol=1e-6)
