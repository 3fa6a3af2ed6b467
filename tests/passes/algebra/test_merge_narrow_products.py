"""Products with few columns that read one operand become one product."""

from __future__ import annotations

import numpy as np
import pytest

from hugectr2onnx.ir.graph import Graph
from hugectr2onnx.ir.ops.elementwise import Relu
from hugectr2onnx.ir.ops.linear import Linear
from hugectr2onnx.ir.ops.shape import Concat
from hugectr2onnx.ir.ops.split import Split
from hugectr2onnx.ir.types import N, f32
from hugectr2onnx.passes.algebra.merge_narrow_products import merge_narrow_products

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


def test_products_of_one_operand_become_one(graph, apply_pass):
    x = graph.input("x", f32(N, 64))
    graph.output({"a": linear(x, 3), "b": x @ const(graph, 64, 2)})
    assert apply_pass(graph, merge_narrow_products) == (
        "%x = input() : f32[N, 64]\n"
        "%linear = linear(%x, %const, %const_2) : f32[N, 5]\n"
        "%split, %split_2 = split(%linear) {axis=1, sizes=[3, 2]} : f32[N, 3], f32[N, 2]\n"
        "return a=%split, b=%split_2"
    )


def test_products_without_a_bias_stay_without(graph, apply_pass):
    x = graph.input("x", f32(N, 64))
    graph.output({"a": x @ const(graph, 64, 2), "b": x @ const(graph, 64, 2)})
    assert "linear" not in apply_pass(graph, merge_narrow_products)


def test_what_was_split_before_is_split_once(graph, apply_pass):
    x = graph.input("x", f32(N, 64))
    first, second = Split(1, (1, 2))(linear(x, 3)).node.results
    graph.output({"a": first, "b": second, "c": linear(x, 4)})
    assert (
        apply_pass(graph, merge_narrow_products)
        .splitlines()[2]
        .startswith("%split, %split_2, %split_3 = split(%linear) {axis=1, sizes=[1, 2, 4]}")
    )


def test_a_group_does_not_grow_beyond_64_columns(graph, apply_pass):
    x = graph.input("x", f32(N, 64))
    graph.output({f"y{i}": linear(x, 8) for i in range(9)})
    text = apply_pass(graph, merge_narrow_products)
    assert "f32[N, 64]\n%split" in text
    assert text.count("linear(") == 2


@pytest.mark.parametrize(
    "build",
    [
        lambda x: (linear(x, 9), linear(x, 9)),
        lambda x: (linear(x, 2, Relu()), linear(x, 2, Relu())),
        lambda x: (linear(x, 2), linear(x, 9)),
        lambda x: (linear(x, 2), x @ x.graph.const(np.full((64, 1), np.nan, np.float32))),
    ],
    ids=["wide", "activations", "one narrow", "not finite"],
)
def test_declines_to_merge(build, graph):
    a, b = build(graph.input("x", f32(N, 64)))
    graph.output({"a": a, "b": b})
    assert not merge_narrow_products(graph)


def test_declines_to_merge_on_a_short_operand(graph):
    x = graph.input("x", f32(N, 13))
    graph.output({"a": linear(x, 2), "b": linear(x, 2)})
    assert not merge_narrow_products(graph)
