"""Sums of products in an order that onnxruntime fuses."""

from __future__ import annotations

import numpy as np
import pytest

from hugectr2onnx.ir.graph import Graph
from hugectr2onnx.ir.types import N, f32
from hugectr2onnx.passes.algebra.reassociate_sums import reassociate_sums

RNG = np.random.default_rng(3)


@pytest.fixture
def graph():
    return Graph("g")


def product(graph, name):
    return graph.input(name, f32(N, 4)) @ graph.const(RNG.normal(size=(4, 2)).astype(np.float32))


def test_each_product_is_added_to_what_is_there(graph, apply_pass):
    a, b, x = product(graph, "a"), product(graph, "b"), graph.input("x", f32(N, 2))
    graph.output({"y": x + (a + b)})
    assert apply_pass(graph, reassociate_sums).splitlines()[3:] == [
        "%mat_mul = mat_mul(%a, %const) : f32[N, 2]",
        "%mat_mul_2 = mat_mul(%b, %const_2) : f32[N, 2]",
        "%add = add(%x, %mat_mul_2) : f32[N, 2]",
        "%add_2 = add(%mat_mul, %add) : f32[N, 2]",
        "return y=%add_2",
    ]


def test_declines_where_each_sum_has_its_product(graph):
    a, b, c = (product(graph, name) for name in "abc")
    graph.output({"y": a + (b + c)})
    assert not reassociate_sums(graph)


def test_declines_where_something_else_reads_the_sum(graph):
    a, b, x = product(graph, "a"), product(graph, "b"), graph.input("x", f32(N, 2))
    both = a + b
    graph.output({"y": x + both, "both": both})
    assert not reassociate_sums(graph)


def test_declines_an_operand_that_broadcasts(graph):
    a, b, x = product(graph, "a"), product(graph, "b"), graph.input("x", f32(N, 1))
    graph.output({"y": x + (a + b)})
    assert not reassociate_sums(graph)
