"""Batch normalisation folds into a neighbouring linear, unless the numbers forbid it."""

from __future__ import annotations

import numpy as np
import pytest

from hugectr2onnx.ir.graph import Graph
from hugectr2onnx.ir.ops.elementwise import Relu
from hugectr2onnx.ir.ops.linear import Linear
from hugectr2onnx.ir.ops.normalization import BatchNormalization
from hugectr2onnx.ir.types import N, f32
from hugectr2onnx.passes.algebra.fold_batch_norm import fold_batch_norm

W, B = np.float32([[1, 2], [0, 1], [-1, 0], [2, 2]]), np.float32([1, -1])
FOLDED = "%bn1 = linear(%x, %const, %const_2) : f32[N, 2]\nreturn y=%bn1"


def norm(value, gamma=(2, 3), beta=(5, 7), mean=(1, -1), var=(4, 9), eps=0.0):
    constants = (value.graph.const(np.float32(each)) for each in (gamma, beta, mean, var))
    return value.graph.add(BatchNormalization(eps), value, *constants, name="bn1")


def weights(graph: Graph) -> tuple[list, list]:
    linear = next(node for node in graph if isinstance(node.op, Linear))
    return linear.inputs[1].const.tolist(), linear.inputs[2].const.tolist()


def test_after_a_linear(graph, x, sound, body):
    """s = [2 / 2, 3 / 3] = [1, 1]; the bias becomes (b - mean) * s + beta = [0 + 5, 0 + 7]."""
    graph.output({"y": norm(Linear()(x, graph.const(W, "w"), graph.const(B, "b")))})
    assert body(graph).splitlines()[0] == "%linear = linear(%x, %w, %b) : f32[N, 2]"
    assert "batch_normalization" in body(graph)
    assert sound(fold_batch_norm, graph, tolerance=1e-5) == {"fold_norm_after_linear": 1}
    assert body(graph) == FOLDED
    assert weights(graph) == (W.tolist(), [5, 7])


def test_after_a_product_without_bias(graph, x, sound, body):
    """s = [2, 1/2]; the bias is beta - mean * s = [5 - 2, 7 + 1/2]."""
    graph.output({"y": norm(x @ graph.const(W), gamma=(4, 1.5))})
    assert sound(fold_batch_norm, graph, tolerance=1e-5) == {"fold_norm_after_product": 1}
    assert body(graph) == FOLDED
    assert weights(graph) == ((W * [2, 0.5]).tolist(), [3, 7.5])


def test_before_a_linear(graph, sound, body):
    """s = [1, 1/2], shift = beta - mean * s = [4, 7.5]; W' = s * W by rows, b' = b + shift @ W."""
    x = graph.input("two", f32(N, 2))
    w = np.float32([[1, 2], [4, 0]])
    graph.output({"y": Linear()(norm(x, gamma=(2, 1.5)), graph.const(w), graph.const(B))})
    assert sound(fold_batch_norm, graph, tolerance=1e-5) == {"fold_norm_before_linear": 1}
    assert weights(graph) == ([[1, 2], [2, 0]], [1 + 4 + 30, -1 + 8])


def test_the_activation_of_the_linear_behind_is_kept(graph, sound, body):
    x = graph.input("two", f32(N, 2))
    graph.output({"y": Linear(Relu())(norm(x), graph.const(np.eye(2, dtype=np.float32)), graph.const(B))})
    assert sound(fold_batch_norm, graph, tolerance=1e-5) == {"fold_norm_before_linear": 1}
    assert "{activation=relu}" in body(graph)


def test_epsilon_counts(graph, x, sound):
    graph.output({"y": norm(x @ graph.const(W), gamma=(1, 1), beta=(0, 0), mean=(0, 0), var=(3, 15), eps=1.0)})
    sound(fold_batch_norm, graph, tolerance=1e-5)
    assert weights(graph) == ((W * [0.5, 0.25]).tolist(), [0, 0])


def test_not_after_an_activation(graph, x, sound):
    graph.output({"y": norm(Linear(Relu())(x, graph.const(W), graph.const(B)))})
    assert sound(fold_batch_norm, graph) == {}


def test_not_where_another_reads_the_linear(graph, x, sound):
    linear = Linear()(x, graph.const(W), graph.const(B))
    graph.output({"y": norm(linear), "z": linear})
    assert sound(fold_batch_norm, graph) == {}


def test_not_where_another_reads_the_norm(graph, sound):
    normal = norm(graph.input("two", f32(N, 2)))
    graph.output({"y": Linear()(normal, graph.const(np.eye(2, dtype=np.float32)), graph.const(B)), "z": normal})
    assert sound(fold_batch_norm, graph) == {}


def test_not_where_the_weight_is_computed(graph, x, sound):
    graph.output({"y": norm(x @ graph.input("w", f32(4, 2)))})
    assert sound(fold_batch_norm, graph) == {}


def test_not_where_a_parameter_is_computed(graph, x, sound):
    given = graph.input("mean", f32(2))
    gamma, beta, var = (graph.const(np.float32(each)) for each in ([1, 1], [0, 0], [1, 2]))
    graph.output({"y": BatchNormalization(1e-5)(x @ graph.const(W), gamma, beta, given, var)})
    assert sound(fold_batch_norm, graph) == {}


@pytest.mark.parametrize("mean", [(100, 0), (0, -100)])
def test_not_before_a_linear_where_the_mean_is_far_from_zero(graph, sound, mean):
    """`x * s` would cancel against `mean * s` only after the product: float32 loses what it cancels."""
    x = graph.input("two", f32(N, 2))
    y = norm(x, mean=mean, var=(1, 1))
    graph.output({"y": Linear()(y, graph.const(np.eye(2, dtype=np.float32)), graph.const(B))})
    assert sound(fold_batch_norm, graph) == {}


@pytest.mark.parametrize(
    "parameters",
    [
        pytest.param({"var": (0, 1)}),
        pytest.param({"var": (-1, 1)}),
        {"mean": (np.nan, 0)},
        {"beta": (np.inf, 0)},
        {"gamma": (3e38, 1), "var": (1e-30, 1)},
    ],
    ids=str,
)
def test_not_where_the_result_is_not_finite(graph, x, parameters):
    graph.output({"y": norm(x @ graph.const(W), **parameters)})
    assert fold_batch_norm(graph) == {}
    assert "batch_normalization" in str(graph)


def test_layers_of_both_are_credited(graph, x):
    with graph.building("fc1"):
        product = x @ graph.const(W)
    with graph.building("bn1"):
        graph.output({"y": norm(product)})
    fold_batch_norm(graph)
    assert graph.outputs["y"].node.sources == ("fc1", "bn1")
    assert graph.outputs["y"].node.name == "bn1"
