"""Which rectified units a feed wakes up."""

from __future__ import annotations

import numpy as np

from hugectr2onnx.ir.expectation import expect
from hugectr2onnx.ir.graph import Graph
from hugectr2onnx.ir.hidden_units import count, joined
from hugectr2onnx.ir.ops.elementwise import Relu
from hugectr2onnx.ir.types import N, f32


def active(x: list[float]) -> dict[str, list[bool]]:
    """Two layers under one name: relu([x0, x1, -1]), then relu of its negative."""
    graph = Graph()
    with graph.building("mlp"):
        first = Relu()(graph.input("x", f32(N, 3)))
        second = Relu()(first * np.float32(-1.0))
    graph.output({"y": second})
    found = expect(graph, graph.outputs, {"x": np.array([x], np.float32)}, 1).active
    return {layer: units.tolist() for layer, units in found.items()}


def test_a_unit_is_active_where_it_is_not_zero() -> None:
    assert active([2.0, -1.0, 0.0]) == {"mlp": [True, False, False], "mlp (2)": [False] * 3}


def test_feeds_wake_up_units_together() -> None:
    parts = [{"a": np.array([True, False, False])}, {"a": np.array([False, False, True])}]
    (units,) = count(joined(parts))
    assert (units.layer, units.units, units.active) == ("a", 3, 2)
