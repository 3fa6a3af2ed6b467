"""A linear takes over the activation that follows it."""

from __future__ import annotations

import numpy as np
import pytest

from hugectr2onnx.ir.ops.elementwise import Elu, Relu, Sigmoid, Sqrt
from hugectr2onnx.ir.ops.linear import Linear
from hugectr2onnx.ir.ops.structural import Identity
from hugectr2onnx.passes.algebra.fuse_activation import fuse_activation


@pytest.fixture
def fc(graph, x):
    weight = graph.const(np.arange(12, dtype=np.float32).reshape(4, 3) / 7, "w")
    bias = graph.const(np.float32([1, -2, 3]), "b")
    return lambda activation=None: graph.add(Linear(activation), x, weight, bias, name="fc1")


@pytest.mark.parametrize(
    "activation, rule, text",
    [
        (Relu(), "fuse_relu", "relu"),
        (Sigmoid(), "fuse_sigmoid", "sigmoid"),
        (Elu(0.5), "fuse_elu", "elu {alpha=0.5}"),
    ],
    ids=str,
)
def test_it_fuses(graph, fc, sound, body, activation, rule, text):
    graph.output({"y": Identity()(graph.add(activation, fc(), name="relu1"))})
    assert sound(fuse_activation, graph) == {rule: 1}
    assert body(graph) == (
        f"%relu1 = linear(%x, %w, %b) {{activation={text}}} : f32[N, 3]\n%identity = identity(%relu1) : f32[N, 3]\n"
        "return y=%identity"
    )


def test_what_it_was_before(graph, fc, body):
    graph.output({"y": Identity()(graph.add(Relu(), fc(), name="relu1"))})
    assert body(graph) == (
        "%fc1 = linear(%x, %w, %b) : f32[N, 3]\n"
        "%relu1 = relu(%fc1) : f32[N, 3]\n"
        "%identity = identity(%relu1) : f32[N, 3]\n"
        "return y=%identity"
    )


@pytest.mark.parametrize("activation", [Sigmoid(), Relu()], ids=str)
def test_not_where_it_makes_a_prediction(graph, fc, sound, activation):
    """The logits stay in sight: parity compares them, for a saturated sigmoid hides errors."""
    graph.output({"y": activation(fc())})
    assert sound(fuse_activation, graph) == {}


def test_not_where_the_prediction_has_other_readers(graph, fc, sound):
    y = Sigmoid()(fc())
    graph.output({"y": y, "z": Identity()(y)})
    assert sound(fuse_activation, graph) == {}


def test_not_where_another_reads_the_linear(graph, fc, sound):
    y = fc()
    graph.output({"y": Identity()(Relu()(y)), "z": y})
    assert sound(fuse_activation, graph) == {}


def test_not_where_there_is_an_activation_already(graph, fc, sound):
    graph.output({"y": Identity()(Sigmoid()(fc(Relu())))})
    assert sound(fuse_activation, graph) == {}


def test_not_other_functions(graph, fc, sound):
    graph.output({"y": Identity()(Sqrt()(fc(Relu())))})
    assert sound(fuse_activation, graph) == {}


def test_not_after_other_operations(graph, x, sound):
    graph.output({"y": Identity()(Relu()(x + x))})
    assert sound(fuse_activation, graph) == {}
