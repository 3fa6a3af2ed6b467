"""fuse_layer_norm: the operator of opset 17, on matrices."""

from __future__ import annotations

import numpy as np

from hugectr2onnx.ir.graph import Graph
from hugectr2onnx.ir.ops.normalization import LayerNormalization
from hugectr2onnx.ir.types import N, f32
from hugectr2onnx.passes.algebra.fuse_layer_norm import fuse_layer_norm

RNG = np.random.default_rng(0)


def normalized(*shape: object, epsilon: float = 1e-3) -> Graph:
    graph = Graph("g")
    x = graph.input("x", f32(*shape))  # type: ignore[arg-type]
    gamma, beta = (graph.const(RNG.normal(size=8).astype(np.float32), name) for name in ("gamma", "beta"))
    graph.output({"y": LayerNormalization(epsilon)(x, gamma, beta)})
    return graph


def test_a_matrix_gets_the_operator(prove, lines):
    graph = normalized(N, 8)
    assert lines(graph) == ["%layer_normalization = layer_normalization(%x, %gamma, %beta) {epsilon=0.001} : f32[N, 8]"]
    assert prove(graph, fuse_layer_norm) == {"use_layer_norm_operator": 1}
    assert lines(graph) == [
        "%layer_normalization = layer_normalization(%x, %gamma, %beta) {epsilon=0.001, fused=True} : f32[N, 8]"
    ]


def test_more_dimensions_become_rows(prove, lines):
    graph = normalized(N, 5, 8)
    prove(graph, fuse_layer_norm)
    assert lines(graph) == [
        "%reshape = reshape(%x) {shape=[5N, 8]} : f32[5N, 8]",
        "%layer_normalization = layer_normalization(%reshape, %gamma, %beta) {epsilon=0.001, fused=True} : f32[5N, 8]",
        "%reshape_2 = reshape(%layer_normalization) {shape=[N, 5, 8]} : f32[N, 5, 8]",
    ]


def test_four_dimensions_with_fixed_shapes(prove):
    prove(normalized(2, 3, 5, 8), fuse_layer_norm)


def test_constant_rows_stay_finite(prove):
    graph = normalized(N, 8, epsilon=1e-5)
    prove(graph, fuse_layer_norm, reach=0.0)
