"""Models that float32 cannot compute: the error names the number that is too large."""

from __future__ import annotations

import numpy as np

from hugectr2onnx.frontend.weights.overflow import overflow_error
from hugectr2onnx.ir.graph import Graph
from hugectr2onnx.ir.ops.dice import Dice
from hugectr2onnx.ir.ops.linear import Linear
from hugectr2onnx.ir.types import N, f32


def model(weight: float, alpha: float) -> Graph:
    graph = Graph()
    x = graph.input("x", f32(N, 2))
    with graph.building("fc"):
        y = Linear()(
            x, graph.const(np.array([[0.5], [weight]], np.float32), "fc.weight"), graph.const(np.zeros(1, "f4"))
        )
    with graph.building("dice"):
        graph.output({"y": Dice(alpha, 1e-9)(y)})
    return graph


def message(graph: Graph) -> str:
    error = overflow_error(graph)
    return error.describe() if error else ""


def test_ordinary_numbers_overflow_nothing() -> None:
    assert overflow_error(model(1e17, -1e17)) is None


def test_weights() -> None:
    assert "the weights fc.weight hold numbers up to 1e+30, and sums and products" in message(model(-1e30, 0.2))


def test_a_parameter_of_a_layer() -> None:
    assert "the parameter alpha of dice is 3e+38, and sums and products of such numbers" in message(model(1, -3e38))
