"""A matrix product and its bias become one linear."""

from __future__ import annotations

import numpy as np
import pytest

from hugectr2onnx.ir.ops.elementwise import Add
from hugectr2onnx.ir.types import N, f32
from hugectr2onnx.passes.algebra.fuse_bias import fuse_bias

W, B = np.arange(12, dtype=np.float32).reshape(4, 3) / 7, np.float32([1, -2, 3])
FUSED = "%fc1 = linear(%x, %w, %b) : f32[N, 3]\nreturn y=%fc1"


@pytest.mark.parametrize("swapped", [False, True])
def test_it_fuses_in_either_order(graph, x, sound, body, swapped):
    product, bias = x @ graph.const(W, "w"), graph.const(B, "b")
    graph.output({"y": graph.add(Add(), *((bias, product) if swapped else (product, bias)), name="fc1")})
    assert sound(fuse_bias, graph) == {"fuse_matmul_add": 1}
    assert body(graph) == FUSED


def test_what_it_was_before(graph, x, body):
    graph.output({"y": graph.add(Add(), x @ graph.const(W, "w"), graph.const(B, "b"), name="fc1")})
    assert body(graph) == (
        "%mat_mul = mat_mul(%x, %w) : f32[N, 3]\n%fc1 = add(%mat_mul, %b) : f32[N, 3]\nreturn y=%fc1"
    )


def test_it_fuses_in_three_dimensions(graph, sound, body):
    x = graph.input("cube", f32(N, 2, 4))
    graph.output({"y": x @ graph.const(W, "w") + graph.const(B, "b")})
    assert sound(fuse_bias, graph) == {"fuse_matmul_add": 1}
    assert body(graph) == "%linear = linear(%cube, %w, %b) : f32[N, 2, 3]\nreturn y=%linear"


def test_the_layers_of_both_are_credited(graph, x):
    with graph.building("one"):
        product = x @ graph.const(W)
    with graph.building("two"):
        graph.output({"y": product + graph.const(B)})
    fuse_bias(graph)
    assert graph.outputs["y"].node.sources == ("one", "two")


def test_not_where_another_reads_the_product(graph, x, sound):
    product = x @ graph.const(W)
    graph.output({"y": product + graph.const(B), "z": product})
    assert sound(fuse_bias, graph) == {}


@pytest.mark.parametrize("bias", [np.ones((1, 3)), np.ones(1), np.ones(())], ids=["a matrix", "one number", "a scalar"])
def test_not_where_the_bias_is_no_vector_of_the_outputs(graph, x, sound, bias):
    graph.output({"y": x @ graph.const(W) + graph.const(bias.astype(np.float32))})
    assert sound(fuse_bias, graph) == {}


def test_not_where_the_bias_is_computed(graph, x, sound):
    graph.output({"y": x @ graph.const(W) + graph.input("b", f32(3))})
    assert sound(fuse_bias, graph) == {}


def test_not_where_the_weight_is_computed(graph, x, sound):
    graph.output({"y": x @ graph.input("w", f32(4, 3)) + graph.const(B)})
    assert sound(fuse_bias, graph) == {}


def test_not_where_the_weight_is_a_batch_of_matrices(graph, sound):
    x = graph.input("cube", f32(N, 2, 4))
    graph.output({"y": x @ graph.const(np.ones((1, 4, 3), np.float32)) + graph.const(B)})
    assert sound(fuse_bias, graph) == {}


def test_not_where_something_else_is_added(graph, x, sound):
    graph.output({"y": x @ graph.const(W) - graph.const(B)})
    assert sound(fuse_bias, graph) == {}
