"""Other roundings of float32: they differ where numbers were rounded, and nowhere else."""

from __future__ import annotations

import numpy as np

from hugectr2onnx.ir.graph import Graph
from hugectr2onnx.ir.rounding_noise import ROUNDED_SAMPLES, noisy_evaluations
from hugectr2onnx.ir.types import N, f32


def evaluations(weight: float, x: float) -> list[float]:
    graph = Graph()
    y = graph.input("x", f32(N, 1)) @ graph.const(np.array([[weight]], np.float32))
    graph.output({"y": y})
    samples = noisy_evaluations(graph, graph.outputs, {"x": np.array([[x]], np.float32)})
    return [float(each["y"][0, 0]) for each in samples]


def test_a_product_moves_by_its_last_bits() -> None:
    found = evaluations(1 / 3, 0.7)
    assert len(set(found)) > 1
    assert max(abs(each - np.float32(0.7) / 3) for each in found) < 4 * 0.7 / 3 * 2**-23


def test_whole_numbers_are_exact() -> None:
    assert evaluations(3.0, 5.0) == [15.0] * ROUNDED_SAMPLES
