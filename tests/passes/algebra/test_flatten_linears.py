"""Linears on three dimensions as linears on matrices."""

from __future__ import annotations

import numpy as np
import pytest

from hugectr2onnx.ir.graph import Graph
from hugectr2onnx.ir.ops.elementwise import Relu
from hugectr2onnx.ir.ops.linear import Linear
from hugectr2onnx.ir.types import N, f32
from hugectr2onnx.passes.algebra.flatten_linears import flatten_linears

RNG = np.random.default_rng(3)


@pytest.fixture
def graph():
    return Graph("g")


def linear(x, n, activation=None):
    weight, bias = (RNG.normal(size=shape).astype(np.float32) for shape in ((x.shape[-1], n), (n,)))
    return Linear(activation)(x, x.graph.const(weight), x.graph.const(bias))


def test_the_first_dimensions_become_rows(graph, apply_pass):
    graph.output({"y": linear(graph.input("x", f32(N, 5, 4)), 3, Relu())})
    assert apply_pass(graph, flatten_linears) == (
        "%x = input() : f32[N, 5, 4]\n"
        "%reshape = reshape(%x) {shape=[5N, 4]} : f32[5N, 4]\n"
        "%linear = linear(%reshape, %const, %const_2) {activation=relu} : f32[5N, 3]\n"
        "%reshape_2 = reshape(%linear) {shape=[N, 5, 3]} : f32[N, 5, 3]\n"
        "return y=%reshape_2"
    )


def test_declines_a_matrix(graph):
    graph.output({"y": linear(graph.input("x", f32(N, 4)), 3)})
    assert not flatten_linears(graph)


def test_declines_a_result_wider_than_the_operand(graph):
    graph.output({"y": linear(graph.input("x", f32(N, 5, 4)), 5)})
    assert not flatten_linears(graph)


def test_declines_a_long_result(graph):
    graph.output({"y": linear(graph.input("x", f32(N, 50, 64)), 64)})
    assert not flatten_linears(graph)


def test_declines_a_fixed_batch(graph):
    """Its results may be of any length."""
    graph.output({"y": linear(graph.input("x", f32(4096, 5, 4)), 3)})
    assert not flatten_linears(graph)
