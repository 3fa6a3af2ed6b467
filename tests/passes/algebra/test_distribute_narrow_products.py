"""Products of few columns: no copies before them, and one reading of a shared operand."""

from __future__ import annotations

import numpy as np
import pytest

from hugectr2onnx.ir.graph import Graph
from hugectr2onnx.ir.ops.elementwise import Relu
from hugectr2onnx.ir.ops.linear import Linear
from hugectr2onnx.ir.ops.shape import Concat
from hugectr2onnx.ir.types import N, f32
from hugectr2onnx.passes.algebra.distribute_narrow_products import distribute_narrow_products

RNG = np.random.default_rng(3)


@pytest.fixture
def graph():
    return Graph("g")


def const(graph, *shape):
    return graph.const(RNG.normal(size=shape).astype(np.float32))


def linear(x, n, activation=None):
    return Linear(activation)(x, const(x.graph, x.shape[-1], n), const(x.graph, n))


def joined(graph, *widths):
    return Concat(1)(*(graph.input(f"x{i}", f32(N, width)) for i, width in enumerate(widths)))


def test_a_linear_of_a_concat_is_a_sum(graph, apply_pass):
    graph.output({"y": linear(joined(graph, 5, 3), 2)})
    assert apply_pass(graph, distribute_narrow_products) == (
        "%x0 = input() : f32[N, 5]\n"
        "%x1 = input() : f32[N, 3]\n"
        "%mat_mul = mat_mul(%x0, %const) : f32[N, 2]\n"
        "%linear = linear(%x1, %const_2, %const_3) : f32[N, 2]\n"
        "%add = add(%mat_mul, %linear) : f32[N, 2]\n"
        "return y=%add"
    )


def test_a_product_of_a_concat_of_three_is_a_sum(graph, apply_pass):
    graph.output({"y": joined(graph, 5, 3, 4) @ const(graph, 12, 1)})
    text = apply_pass(graph, distribute_narrow_products)
    assert "concat" not in text
    assert text.count("mat_mul(") == 3


def test_rows_are_scaled_after_the_product(graph, apply_pass):
    x, s = graph.input("x", f32(N, 8)), graph.input("s", f32(N, 1))
    graph.output({"y": linear(x * s, 2)})
    assert apply_pass(graph, distribute_narrow_products).splitlines()[2:] == [
        "%mat_mul = mat_mul(%x, %const) : f32[N, 2]",
        "%mul = mul(%s, %mat_mul) : f32[N, 2]",
        "%add = add(%mul, %const_2) : f32[N, 2]",
        "return y=%add",
    ]


def test_rows_are_scaled_after_a_product_without_bias(graph, apply_pass):
    x, s = graph.input("x", f32(N, 8)), graph.input("s", f32(N, 1))
    graph.output({"y": (s * x) @ const(graph, 8, 2)})
    assert apply_pass(graph, distribute_narrow_products).splitlines()[-2:] == [
        "%mul = mul(%s, %mat_mul) : f32[N, 2]",
        "return y=%mul",
    ]


@pytest.mark.parametrize(
    "build",
    [
        lambda g: linear(joined(g, 5, 3), 3),
        lambda g: linear(joined(g, 5, 3), 2, Relu()),
        lambda g: linear(joined(g, 5, 5, 5, 5), 1),
        lambda g: joined(g, 5, 3) @ g.input("w", f32(8, 1)),
        lambda g: linear(g.input("x", f32(N, 8)) * g.input("z", f32(N, 8)), 1),
        lambda g: linear(g.input("x", f32(N, 8)) * g.input("z", f32(8)), 1),
        lambda g: joined(g, 5, 3) @ g.const(np.full((8, 1), np.inf, np.float32)),
    ],
    ids=["wide", "activation", "many parts", "no constant", "two matrices", "scaled columns", "not finite"],
)
def test_declines(build, graph):
    graph.output({"y": build(graph)})
    assert not distribute_narrow_products(graph)


def test_declines_where_something_else_reads_the_concat(graph):
    both = joined(graph, 5, 3)
    graph.output({"y": linear(both, 1), "both": both})
    assert not distribute_narrow_products(graph)
