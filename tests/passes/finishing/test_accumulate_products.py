"""Products on top of what they are added to."""

from __future__ import annotations

import numpy as np
import pytest

from hugectr2onnx.ir.types import N, f32
from hugectr2onnx.passes.finishing.accumulate_products import accumulate_products


def weight(graph, *shape):
    return graph.const(np.random.default_rng(2).normal(size=shape).astype(np.float32))


def test_a_product_and_what_it_is_added_to(graph, x, apply_pass):
    s = graph.input("s", f32(N, 2))
    graph.output({"y": s + x @ weight(graph, 4, 2)})
    assert apply_pass(graph, accumulate_products) == (
        "%x = input() : f32[N, 4]\n"
        "%s = input() : f32[N, 2]\n"
        "%accumulate = accumulate(%x, %const, %s) : f32[N, 2]\n"
        "return y=%accumulate"
    )


def test_two_products_become_two_steps(graph, x, apply_pass):
    graph.output({"y": x @ weight(graph, 4, 1) + x @ weight(graph, 4, 1)})
    assert apply_pass(graph, accumulate_products).splitlines()[1:3] == [
        "%mat_mul = mat_mul(%x, %const) : f32[N, 1]",
        "%accumulate = accumulate(%x, %const_2, %mat_mul) : f32[N, 1]",
    ]


@pytest.mark.parametrize(
    "build",
    [
        lambda g, x: x @ weight(g, 4, 2) + g.input("s", f32(N, 1)),
        lambda g, x: x @ weight(g, 4, 2) + weight(g, 2),
        lambda g, x: x @ g.input("w", f32(4, 2)) + g.input("s", f32(N, 2)),
        lambda g, x: g.input("z", f32(N, 3, 4)) @ weight(g, 4, 2) + g.input("s", f32(N, 3, 2)),
    ],
    ids=["a column", "a bias", "no weight", "three dimensions"],
)
def test_declines(build, graph, x):
    graph.output({"y": build(graph, x)})
    assert not accumulate_products(graph)


def test_declines_where_the_product_has_another_reader(graph, x):
    product = x @ weight(graph, 4, 2)
    graph.output({"y": product + graph.input("s", f32(N, 2)), "product": product})
    assert not accumulate_products(graph)
