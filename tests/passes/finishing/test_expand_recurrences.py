"""A recurrence on numbers of a sample as a sum of products."""

from __future__ import annotations

import numpy as np
import pytest

from hugectr2onnx.ir.ops.linear import TransposedLinear
from hugectr2onnx.ir.ops.split import Split
from hugectr2onnx.ir.types import N, f32
from hugectr2onnx.passes.finishing.expand_recurrences import expand_recurrences


def factors(graph, count, axis=0):
    random = np.random.default_rng(count)
    weight, shift = (graph.const(random.normal(size=shape).astype(np.float32)) for shape in ((count, 4), (count, 1)))
    rows = TransposedLinear()(weight, graph.input("x", f32(N, 4)), shift)
    return Split(axis, (1,) * count)(rows).node.results


def test_a_cross_network_of_three_layers(graph, apply_pass):
    f, g, h, i = factors(graph, 4)
    graph.output({"y": ((f * g + 2.0) * h + 3.0) * i + 5.0})
    assert apply_pass(graph, expand_recurrences) == (
        "%x = input() : f32[N, 4]\n"
        "%transposed_linear = transposed_linear(%const, %x, %const_2) : f32[5, N]\n"
        "%products_of_rows = products_of_rows(%transposed_linear) "
        "{rows=[[0, 1, 2, 3], [2, 3, 4, 4], [3, 4, 4, 4], [4, 4, 4, 4]]} : f32[4, N]\n"
        "%mat_mul = mat_mul(%const_3, %products_of_rows) : f32[1, N]\n"
        "return y=%mat_mul"
    )


def test_what_comes_after_it_stays(graph, apply_pass):
    f, g, h, i = factors(graph, 4)
    y = ((f * g + 2.0) * h + 3.0) * i + 5.0
    graph.output({"y": y * graph.input("s", f32(1, N))})
    assert apply_pass(graph, expand_recurrences).splitlines()[-2:] == [
        "%mul = mul(%mat_mul, %s) : f32[1, N]",
        "return y=%mul",
    ]


@pytest.mark.parametrize(
    "build",
    [
        lambda f: (f[0] * f[1] + 2.0) * f[2] + 3.0 + f[3],
        lambda f: ((f[0] * f[1] + 2.0) * f[2] + 3.0) * f[3],
        lambda f: ((f[0] * f[1] + 2.0) * f[2] - 3.0) * f[3] + 5.0,
        lambda f: ((f[0] * f[0] + 2.0) * f[1] + 3.0) * f[2] * f[3],
    ],
    ids=["a sum", "few steps", "a difference", "a square"],
)
def test_declines(build, graph):
    graph.output({"y": build(factors(graph, 4))})
    assert not expand_recurrences(graph)


def test_declines_where_a_step_has_another_reader(graph):
    f, g, h, i = factors(graph, 4)
    first = f * g
    graph.output({"y": ((first + 2.0) * h + 3.0) * i + 5.0, "first": first})
    assert not expand_recurrences(graph)


def test_declines_rows_that_are_no_linear(graph):
    f, g, h, i = Split(0, (1,) * 4)(graph.input("x", f32(4, N))).node.results
    graph.output({"y": ((f * g + 2.0) * h + 3.0) * i + 5.0})
    assert not expand_recurrences(graph)
