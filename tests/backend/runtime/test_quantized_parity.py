"""The proof of products of bytes: it passes what is right, whatever the ties, and finds one wrong byte."""

from __future__ import annotations

import re

import numpy as np
import onnx
import pytest
from onnx import numpy_helper

from hugectr2onnx.backend.onnx.artifact import Artifact
from hugectr2onnx.backend.onnx.emitter import emit
from hugectr2onnx.backend.runtime import parity, quantized_parity
from hugectr2onnx.errors import ParityError
from hugectr2onnx.ir.graph import Graph
from hugectr2onnx.ir.ops.elementwise import Relu, Sigmoid
from hugectr2onnx.ir.ops.linear import Linear
from hugectr2onnx.ir.ops.quantized import DynamicQuantize, RowQuantize
from hugectr2onnx.ir.types import N, f32
from hugectr2onnx.passes.precision.quantize_products import quantize_products

K = 400


def perceptron(scale=1.0):
    graph, random = Graph("g"), np.random.default_rng(0)
    x = graph.input("x", f32(N, K))
    for layer in ("fc1", "fc2"):
        with graph.building(layer):
            w = random.normal(0, K**-0.5, (K, K)).astype(np.float32)
            x = Linear(Relu())(x, graph.const(w, f"{layer}.weight"), graph.const(np.zeros(K, np.float32)))
    with graph.building("fc3"):
        w = (random.normal(0, K**-0.5, (K, 1)) * scale).astype(np.float32)
        graph.output({"label": Sigmoid()(x @ graph.const(w))})
    return graph


BOTH = pytest.mark.parametrize("precision", ["int8", "int8-row"])


def compiled(graph, precision="int8"):
    """(the expected answers before, the graph with bytes, the model)"""
    expected = parity.expect(graph)
    quantize_products(graph, precision)
    return expected, graph, emit(graph, graph_name="g", opset=17, version="0", metadata={})


def changed(artifact, tensor, change):
    model = onnx.ModelProto()
    model.CopyFrom(artifact.skeleton)
    (found,) = [each for each in model.graph.initializer if each.name == tensor]
    array = numpy_helper.to_array(found).copy()
    change(array)
    found.CopyFrom(numpy_helper.from_array(array, tensor))
    return Artifact(model, artifact.tensors)


@BOTH
def test_a_right_model_passes_at_the_tolerance_of_any_other(precision):
    expected, graph, artifact = compiled(perceptron(), precision)
    found, costs = quantized_parity.check(artifact, graph, expected)
    assert found.passed
    assert [each.name for each in found.outputs] == [
        "label",
        "logits of label",
        "operand of fc1.linear.operand",
        "operand of fc2.linear.operand",
    ]
    assert all(each.max_error < 2e-6 for each in found.outputs if each.name.startswith("operand"))
    assert [each.output for each in costs] == ["label"]
    assert 1e-5 < costs[0].mean_change < costs[0].max_change


def test_numbers_of_any_size_are_compared_in_their_own_units():
    """Errors of a thousandth of a tiny operand must not drown in an absolute tolerance."""
    graph = perceptron()
    fc1 = next(node for node in graph if node.sources == ("fc1",) and isinstance(node.op, Linear))
    tiny = (fc1.inputs[1].const * np.float32(1e-6)).astype(np.float32)
    graph.replace(fc1.inputs[1], graph.const(tiny, "fc1.tiny"))
    expected, graph, artifact = compiled(graph)
    quantized_parity.check(artifact, graph, expected)

    def one_percent(scales):
        scales *= np.float32(1.01)

    found, _ = quantized_parity.measure(changed(artifact, "fc1.tiny.scales", one_percent), graph, expected)
    assert not found.passed


def flip_last_bit(array):
    array[3, 5] ^= 1


@BOTH
def test_one_wrong_bit_of_one_weight_is_found(precision):
    expected, graph, artifact = compiled(perceptron(), precision)
    with pytest.raises(
        ParityError, match=r"operand of fc2\.linear\.operand differs from the float64 reference in \d+ of"
    ):
        quantized_parity.check(changed(artifact, "fc1.weight.int8", flip_last_bit), graph, expected)
    with pytest.raises(ParityError, match=r"output 'label' differs|output 'logits of label' differs"):
        quantized_parity.check(changed(artifact, "fc2.weight.int8", flip_last_bit), graph, expected)


@BOTH
def test_a_model_that_quantizes_something_else_is_refused(precision):
    expected, graph, artifact = compiled(perceptron(), precision)
    model = onnx.ModelProto()
    model.CopyFrom(artifact.skeleton)
    for node in model.graph.node:
        node.input[:] = ["lost" if name == "fc2.linear.operand" else name for name in node.input]
        node.output[:] = ["lost" if name == "fc2.linear.operand" else name for name in node.output]
    with pytest.raises(ParityError, match=r"the model does not quantize what it should: fc2\.linear\.operand"):
        quantized_parity.check(Artifact(model, artifact.tensors), graph, expected)


def without(artifact, op_type):
    """The model without the first node of an operator, whose operand goes on in its place."""
    model = onnx.ModelProto()
    model.CopyFrom(artifact.skeleton)
    lost = next(node for node in model.graph.node if node.op_type == op_type)
    model.graph.node.remove(lost)
    for node in model.graph.node:
        node.input[:] = [lost.input[0] if name == lost.output[0] else name for name in node.input]
    return Artifact(model, artifact.tensors)


@pytest.mark.parametrize("op_type", ["Abs", "Max"])
def test_a_node_that_only_rare_rows_need_must_be_there(op_type):
    """Some features of a feed are large and positive, and no row is zero: there neither changes anything."""
    expected, graph, artifact = compiled(perceptron(), "int8-row")
    with pytest.raises(ParityError, match=r"operand of fc1\.linear\.operand, rows alone: the scale is nan instead of"):
        quantized_parity.check(without(artifact, op_type), graph, expected)


def test_a_sum_along_the_wrong_axis_lets_nan_reach_other_rows():
    expected, graph, artifact = compiled(perceptron(), "int8-row")
    (axes,) = [node.input[1] for node in artifact.skeleton.graph.node if node.op_type == "ReduceSum"][:1]

    def along_the_batch(array):
        array[:] = 0

    with pytest.raises(ParityError, match=r"operand of fc1\.linear\.operand: the scale has shape"):
        quantized_parity.check(changed(artifact, axes, along_the_batch), graph, expected)


def test_passes_are_proven_before_anything_is_rounded():
    graph = perceptron()
    expected = parity.expect(graph)
    fc2 = next(node for node in graph if node.sources == ("fc2",) and isinstance(node.op, Linear))
    graph.replace(fc2.inputs[1], graph.const(fc2.inputs[1].const * np.float32(1.001)))
    with pytest.raises(ParityError, match="output 'label' differs from the float64 reference"):
        quantized_parity.check_unquantized(graph, expected)


X = np.float32([0, 100.4, 127.5, 255])


@pytest.mark.parametrize("tied", [127, 128])
def test_a_number_in_the_middle_may_be_either_byte(tied):
    assert not list(
        quantized_parity.wrong_bytes(DynamicQuantize(), X, np.uint8([0, 100, tied, 255]), np.float32(1), np.uint8(0))
    )


@pytest.mark.parametrize(
    "q, scale, zero, message",
    [
        ([0, 101, 128, 255], 1, 0, r"1 of 4 bytes are wrong; \[1\] is 101 instead of 100.4"),
        ([0, 100, 129, 255], 1, 0, r"1 of 4 bytes are wrong; \[2\] is 129 instead of 127.5"),
        ([1, 101, 129, 255], 1, 1, r"the zero is 1 instead of (-)?0, rounded"),
        ([0, 100, 128, 255], 1.00001, 0, r"the scale is 1.00001\d* instead of 1"),
    ],
)
def test_wrong_bytes_are_told(q, scale, zero, message):
    (problem,) = quantized_parity.wrong_bytes(DynamicQuantize(), X, np.uint8(q), np.float32(scale), np.uint8(zero))
    assert re.search(message, problem)


ROWS = np.float32([[0, 50.2, -127], [0.5, 2, 2.54]])
"""Of the scales 1 and 0.02."""


def test_right_bytes_of_rows_are_accepted():
    scales = np.float32([[1], [0.02]])
    assert not list(
        quantized_parity.wrong_bytes(
            RowQuantize(), ROWS, np.uint8([[128, 178, 1], [153, 228, 255]]), scales, np.uint8(128)
        )
    )


@pytest.mark.parametrize(
    "q, scales, zero, message",
    [
        (
            [[128, 178, 1], [153, 229, 255]],
            [[1], [0.02]],
            128,
            r"1 of 6 bytes are wrong; \[1, 1\] is 229 instead of 228",
        ),
        ([[128, 178, 1], [128, 130, 131]], [[1], [1]], 128, r"the scale is 1 instead of 0\.01999"),
        ([[128, 178, 1], [153, 228, 255]], 1, 128, r"the scale has shape \(\) instead of \(2, 1\)"),
        ([[127, 177, 0], [152, 227, 254]], [[1], [0.02]], 127, r"the zero is 127 instead of 128, rounded"),
    ],
)
def test_wrong_bytes_of_rows_are_told(q, scales, zero, message):
    (problem,) = quantized_parity.wrong_bytes(RowQuantize(), ROWS, np.uint8(q), np.float32(scales), np.uint8(zero))
    assert re.search(message, problem)
