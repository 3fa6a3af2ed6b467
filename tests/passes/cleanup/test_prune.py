"""What no output needs goes; interface inputs stay."""

from __future__ import annotations

import numpy as np

from hugectr2onnx.ir.ops.elementwise import Relu, Sigmoid
from hugectr2onnx.ir.ops.lookup import Embedding
from hugectr2onnx.ir.types import N, i64
from hugectr2onnx.passes.cleanup.prune import prune


def test_dead_operations_go(graph, x, sound, body):
    y = Relu()(x)
    dead = Sigmoid()(y) * graph.const(np.float32([2]))
    Sigmoid()(dead)
    graph.output({"y": y})
    assert "%mul" in str(graph)
    assert sound(prune, graph) == {"prune": 4}
    assert body(graph) == "%relu = relu(%x) : f32[N, 4]\nreturn y=%relu"


def test_a_table_goes_with_its_look_up_and_the_keys_stay(graph, x, sound):
    keys = graph.input("k", i64(N, 1, 1))
    Embedding("sum")(keys, graph.const(np.array([1])), graph.const(np.float32([[1]])))
    graph.output({"y": Relu()(x)})
    assert sound(prune, graph) == {"prune": 3}
    assert [value.node.name for value in graph.inputs] == ["x", "k"]


def test_nothing_dead_nothing_done(graph, x, sound):
    graph.output({"y": Relu()(x)})
    assert sound(prune, graph) == {}
