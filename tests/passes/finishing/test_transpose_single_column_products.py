"""One number a sample as one row for all samples, where its products are long enough to pay for the Reshape."""

from __future__ import annotations

import numpy as np
import pytest

from hugectr2onnx.ir.ops.elementwise import Relu, Sigmoid, Sqrt
from hugectr2onnx.ir.ops.linear import Accumulate, Linear
from hugectr2onnx.ir.ops.reduce import ReduceSum
from hugectr2onnx.ir.ops.shape import Transpose
from hugectr2onnx.ir.ops.split import Split
from hugectr2onnx.ir.types import Batch, N, f32
from hugectr2onnx.passes.finishing.transpose_single_column_products import transpose_single_column_products

RNG = np.random.default_rng(5)


@pytest.fixture
def h(graph):
    """A layer of 480 units: as many as pay."""
    return graph.input("h", f32(N, 480))


def const(graph, *shape):
    return graph.const(RNG.normal(0, 0.1, shape).astype(np.float32))


def linear(x, n=1, activation=None):
    return Linear(activation)(x, const(x.graph, x.shape[-1], n), const(x.graph, n))


def test_a_prediction(graph, h, apply_pass):
    graph.output({"label": Sigmoid()(linear(h))})
    assert apply_pass(graph, transpose_single_column_products) == (
        "%h = input() : f32[N, 480]\n"
        "%transposed_linear = transposed_linear(%const, %h, %const_2) : f32[1, N]\n"
        "%sigmoid = sigmoid(%transposed_linear) : f32[1, N]\n"
        "%reshape = reshape(%sigmoid) {shape=[N, 1]} : f32[N, 1]\n"
        "return label=%reshape"
    )


def test_products_are_added_up_with_their_biases(graph, h, apply_pass):
    """A sum over a row is a product with ones."""
    wide, x = graph.input("wide", f32(N, 2)), graph.input("x", f32(N, 3))
    graph.output({"y": linear(h) + (ReduceSum(1)(wide) + linear(x))})
    assert apply_pass(graph, transpose_single_column_products).splitlines()[3:] == [
        "%transposed_linear = transposed_linear(%const, %h, %const_2) : f32[1, N]",
        "%transposed_linear_2 = transposed_linear(%const_3, %wide, %transposed_linear) : f32[1, N]",
        "%transposed_linear_3 = transposed_linear(%const_4, %x, %transposed_linear_2) : f32[1, N]",
        "%reshape = reshape(%transposed_linear_3) {shape=[N, 1]} : f32[N, 1]",
        "return y=%reshape",
    ]


def test_products_that_are_on_top_of_others_already(graph, h, apply_pass):
    x = graph.input("x", f32(N, 3))
    graph.output({"y": Accumulate()(x, const(graph, 3, 1), linear(h) + 1.0)})
    assert apply_pass(graph, transpose_single_column_products).splitlines()[2:] == [
        "%transposed_linear = transposed_linear(%const, %x, %const_2) : f32[1, N]",
        "%transposed_linear_2 = transposed_linear(%const_3, %h, %transposed_linear) : f32[1, N]",
        "%reshape = reshape(%transposed_linear_2) {shape=[N, 1]} : f32[N, 1]",
        "return y=%reshape",
    ]


def test_a_product_on_top_of_others_that_something_else_reads(graph, apply_pass):
    h, s = graph.input("h", f32(N, 960)), graph.input("s", f32(N, 1))
    shared = Accumulate()(graph.input("x", f32(N, 3)), const(graph, 3, 1), s)
    graph.output({"y": linear(h) + shared, "shared": shared})
    assert apply_pass(graph, transpose_single_column_products).splitlines()[3:5] == [
        "%accumulate = accumulate(%x, %const, %s) : f32[N, 1]",
        "%reshape = reshape(%accumulate) {shape=[1, N]} : f32[1, N]",
    ]


def test_the_pieces_of_a_product_turn_together(graph, h, apply_pass):
    a, b = Split(1, (1, 1))(linear(graph.input("x", f32(N, 3)), 2)).node.results
    graph.output({"y": (a * b + 2.0) + h @ const(graph, 480, 1)})
    assert apply_pass(graph, transpose_single_column_products).splitlines()[2:] == [
        "%transposed_linear = transposed_linear(%const, %x, %const_2) : f32[2, N]",
        "%split, %split_2 = split(%transposed_linear) {axis=0, sizes=[1, 1]} : f32[1, N], f32[1, N]",
        "%mul = mul(%split, %split_2) : f32[1, N]",
        "%add = add(%mul, %const_3) : f32[1, N]",
        "%transposed_linear_2 = transposed_linear(%const_4, %h, %add) : f32[1, N]",
        "%reshape = reshape(%transposed_linear_2) {shape=[N, 1]} : f32[N, 1]",
        "return y=%reshape",
    ]


def test_an_activation_inside(graph, h, apply_pass):
    graph.output({"y": (linear(h, activation=Relu()) - 1.0) * 3.0})
    text = apply_pass(graph, transpose_single_column_products)
    assert "%relu = relu(%transposed_linear) : f32[1, N]" in text
    assert "%sub = sub(%relu, %const_3) : f32[1, N]" in text


def test_what_does_not_turn_is_reshaped(graph, apply_pass):
    """For twice the price, which 960 numbers pay."""
    h, s = graph.input("h", f32(N, 960)), graph.input("s", f32(N, 1))
    graph.output({"y": linear(h) + s})
    assert (
        apply_pass(graph, transpose_single_column_products).splitlines()[2]
        == "%reshape = reshape(%s) {shape=[1, N]} : f32[1, N]"
    )


def test_a_column_with_two_readers_stays_where_it_is(graph, apply_pass):
    h = graph.input("h", f32(N, 960))
    root = Sqrt()(h @ const(graph, 960, 1) * 0.0)
    graph.output({"y": linear(h) + root, "root": root})
    assert "reshape(%sqrt) {shape=[1, N]}" in apply_pass(graph, transpose_single_column_products)


def test_new_nodes_come_from_all_the_layers_they_replace(graph, h):
    with graph.building("fc"):
        y = linear(h)
    with graph.building("sigmoid"):
        graph.output({"label": Sigmoid()(y)})
    transpose_single_column_products(graph)
    assert graph.outputs["label"].node.sources == ("fc", "sigmoid")


def short(graph):
    return linear(graph.input("h", f32(N, 479)))


def wide(graph):
    return linear(graph.input("h", f32(N, 480)), 2)


def long_sum(graph):
    return ReduceSum(1)(graph.input("h", f32(N, 480)))


def beside_another(graph):
    return linear(graph.input("h", f32(N, 480))) + graph.input("s", f32(N, 1))


def variable(graph):
    return graph.input("h", f32(N, 480)) @ graph.input("w", f32(480, 1))


def overflowing(graph):
    x = graph.input("h", f32(N, 480))
    most = graph.const(np.float32([3e38]))
    return Linear()(x, const(graph, 480, 1), most) + Linear()(x, const(graph, 480, 1), most)


def deep(graph):
    y = linear(graph.input("h", f32(N, 480)))
    for _ in range(5000):
        y = Sigmoid()(y) + 1.0
    return y


@pytest.mark.parametrize("build", [short, wide, long_sum, beside_another, variable, overflowing, deep])
def test_declines(build, graph):
    graph.output({"y": build(graph)})
    assert not transpose_single_column_products(graph)


def test_a_column_that_meets_a_matrix_turns_back_before(graph, h, apply_pass):
    graph.output({"y": linear(h) * graph.input("x", f32(N, 3))})
    assert apply_pass(graph, transpose_single_column_products).splitlines()[-2:] == [
        "%mul = mul(%reshape, %x) : f32[N, 3]",
        "return y=%mul",
    ]


def test_rows_of_two_samples(graph, apply_pass):
    """Where a Reshape merges samples, half a batch is no number for a batch of one."""
    half = Batch(N.factor / 2)
    h, x = graph.input("h", f32(half, 480)), graph.input("x", f32(half, 3))
    on_top = Accumulate()(x, const(graph, 3, 1), linear(h) + ReduceSum(1)(x))
    graph.output({"y": on_top})
    assert apply_pass(graph, transpose_single_column_products).splitlines()[2:] == [
        "%transposed_linear = transposed_linear(%const, %x, %const_2) : f32[1, N/2]",
        "%transposed_linear_2 = transposed_linear(%const_3, %h, %transposed_linear) : f32[1, N/2]",
        "%transposed_linear_3 = transposed_linear(%const_4, %x, %transposed_linear_2) : f32[1, N/2]",
        "%reshape = reshape(%transposed_linear_3) {shape=[N/2, 1]} : f32[N/2, 1]",
        "return y=%reshape",
    ]


def test_a_sum_over_as_many_columns_as_there_are_samples_stays_one(graph, apply_pass):
    h = graph.input("h", f32(N, 960))
    scores = h @ Transpose((1, 0))(h)
    graph.output({"y": linear(h) + ReduceSum(1)(scores)})
    assert "%reshape = reshape(%reduce_sum) {shape=[1, N]} : f32[1, N]" in apply_pass(
        graph, transpose_single_column_products
    )


def test_a_batch_that_is_a_number_stays(graph):
    graph.output({"y": linear(graph.input("h", f32(2, 480)))})
    assert not transpose_single_column_products(graph)
