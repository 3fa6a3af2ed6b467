"""Products of bytes: ONNX's definition of DynamicQuantizeLinear and rows by hand, and what onnxruntime makes of them."""

from __future__ import annotations

import numpy as np
import pytest

from hugectr2onnx.errors import ShapeError
from hugectr2onnx.ir.evaluator import evaluate
from hugectr2onnx.ir.graph import Graph
from hugectr2onnx.ir.ops.elementwise import Relu
from hugectr2onnx.ir.ops.quantized import DynamicQuantize, QuantizedLinear, RowQuantize
from hugectr2onnx.ir.types import DType, N, TensorType, f32, i64


def u8(*shape):
    return TensorType(DType.U8, shape)


def i8(*shape):
    return TensorType(DType.I8, shape)


@pytest.mark.parametrize(
    "x, q, scale, zero",
    [
        # The example of the operator's documentation.
        ([0, 2, -3, -2.5, 1.34, 0.5], [153, 255, 0, 26, 221, 179], 5 / 255, 153),
        ([1.0, 2.1, 1.3, 2.5, 3.34, 4.0], [64, 134, 83, 159, 213, 255], 4 / 255, 0),
        ([-1.0, -2.1, -1.3, -2.5, -3.34, -4.0], [191, 121, 172, 96, 42, 0], 4 / 255, 255),
        ([0.0, 0.0], [0, 0], 1, 0),
        ([255.0, 0.5, 1.5, 2.5], [255, 0, 2, 2], 1, 0),
    ],
)
def test_bytes_are_those_of_onnx(x, q, scale, zero):
    found = DynamicQuantize().evaluate(np.array(x, np.float32))
    np.testing.assert_array_equal(found[0], q)
    np.testing.assert_allclose(found[1], scale, rtol=1e-6)
    assert found[2] == zero


@pytest.mark.parametrize(
    "nonnegative, x, q, scales, zero",
    [
        (
            False,
            [[-127, 0, 0.5, 1.5], [0.2, -0.4, 0, 0]],
            [[1, 128, 128, 130], [192, 1, 128, 128]],
            [1, 0.4 / 127],
            128,
        ),
        (False, [[0, 0, 0, 0]], [[128] * 4], [2.0**-126], 128),
        (True, [[255, 0, 0.5, 1.5], [0.2, 0.4, 0, 0]], [[255, 0, 0, 2], [128, 255, 0, 0]], [1, 0.4 / 255], 0),
    ],
)
def test_each_row_has_a_scale_of_its_own(nonnegative, x, q, scales, zero):
    found = RowQuantize(nonnegative).evaluate(np.array(x, np.float32))
    np.testing.assert_array_equal(found[0], q)
    np.testing.assert_allclose(found[1][:, 0], scales, rtol=1e-6)
    assert found[2] == zero


def test_a_product_of_bytes_by_hand():
    q, w = np.array([[3, 0, 255]], np.uint8), np.array([[1, -2], [127, 5], [-1, 0]], np.int8)
    # (3 - 2, 0 - 2, 255 - 2) @ w = (1 - 254 - 253, -2 - 10) = (-506, -12)
    found = QuantizedLinear().evaluate(q, np.float64(0.5), np.uint8(2), w, np.array([0.1, 10.0]), np.array([0.0, 1.0]))
    np.testing.assert_allclose(found, [[-506 * 0.05, -12 * 5 + 1]])
    by_row = QuantizedLinear().evaluate(
        np.vstack([q, q]), np.array([[0.5], [2.0]]), np.uint8(2), w, np.array([0.1, 10.0]), np.array([0.0, 1.0])
    )
    np.testing.assert_allclose(by_row, [[-506 * 0.05, -12 * 5 + 1], [-506 * 0.2, -12 * 20 + 1]])
    rectified = QuantizedLinear(Relu()).evaluate(
        q, np.float64(0.5), np.uint8(2), w, np.array([0.1, 10.0]), np.array([0.0, 1.0])
    )
    assert not rectified.any()


@pytest.mark.parametrize("shape", [(N, 6), (N, 2, 6)], ids=str)
@pytest.mark.parametrize("bias", [0.0, 2.0])
@pytest.mark.parametrize("quantize", [DynamicQuantize(), RowQuantize(), RowQuantize(nonnegative=True)], ids=str)
def test_the_model_takes_the_same_bytes_and_gives_the_same_sums(shape, bias, quantize, on_onnxruntime):
    graph, random = Graph(), np.random.default_rng(0)
    x = graph.input("x", f32(*shape))
    operand = quantize(Relu()(x) if quantize == RowQuantize(nonnegative=True) else x)
    operand.node.name = "operand"
    w, scales = random.integers(-60, 60, (6, 5)).astype(np.int8), random.uniform(0.01, 0.1, 5).astype(np.float32)
    y = QuantizedLinear(Relu())(
        *operand.node.results, graph.const(w), graph.const(scales), graph.const(np.full(5, bias, np.float32))
    )
    graph.output({"y": y})
    for batch in (1, 4):
        feeds = {"x": random.normal(0, 2, f32(*shape).concrete(batch)).astype(np.float32)}
        found, expected = on_onnxruntime(graph, feeds)["y"], evaluate(graph, feeds)["y"]
        assert found.shape == y.type.concrete(batch)
        np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("nonnegative", [False, True])
@pytest.mark.parametrize("bad", [np.nan, np.inf])
@pytest.mark.parametrize("batch", [1, 3])
def test_a_row_that_is_not_finite_becomes_nan_and_others_keep_their_bits(nonnegative, bad, batch, on_onnxruntime):
    """A byte cannot hold NaN: without care the row would become a number that looks like a prediction."""
    graph, random = Graph(), np.random.default_rng(0)
    operand = RowQuantize(nonnegative)(graph.input("x", f32(N, 64)))
    w = random.integers(-60, 60, (64, 5)).astype(np.int8)
    ones = graph.const(np.ones(5, np.float32))
    graph.output({"y": QuantizedLinear()(*operand.node.results, graph.const(w), ones, ones)})
    x = np.abs(random.normal(0, 2, (batch, 64))).astype(np.float32)
    before = on_onnxruntime(graph, {"x": x})["y"]
    x[-1, 7] = bad
    for found in (on_onnxruntime(graph, {"x": x})["y"], evaluate(graph, {"x": x})["y"]):
        assert np.isnan(found[-1]).all()
    np.testing.assert_array_equal(on_onnxruntime(graph, {"x": x})["y"][:-1], before[:-1])


def test_types():
    assert DynamicQuantize().infer(f32(N, 3)) == (u8(N, 3), f32(), u8())
    assert RowQuantize().infer(f32(N, 2, 3)) == (u8(N, 2, 3), f32(N, 2, 1), u8())
    assert QuantizedLinear().infer(u8(N, 2, 3), f32(N, 2, 1), u8(), i8(3, 5), f32(5), f32(5)) == f32(N, 2, 5)
    assert QuantizedLinear().infer(u8(N, 2, 3), f32(), u8(), i8(3, 5), f32(5), f32(5)) == f32(N, 2, 5)
    with pytest.raises(
        ShapeError, match=r"dynamic_quantize of i64\[N, 3\]: only f32 of one dimension and more is quantized"
    ):
        DynamicQuantize().infer(i64(N, 3))


@pytest.mark.parametrize(
    "types",
    [
        (f32(N, 3), f32(), u8(), i8(3, 5), f32(5), f32(5)),
        (u8(N, 3), f32(), u8(), i8(4, 5), f32(5), f32(5)),
        (u8(N, 3), f32(), u8(), f32(3, 5), f32(5), f32(5)),
        (u8(N, 3), f32(2), u8(), i8(3, 5), f32(5), f32(5)),
        (u8(N, 3), f32(), u8(), i8(3, 5), f32(3), f32(5)),
        (u8(N, 3), f32(), u8(), i8(3, 5), f32(5), f32(3)),
    ],
    ids=["floats", "another length", "weights of floats", "several scales", "scales of rows", "a bias of rows"],
)
def test_operands_that_do_not_fit_are_named(types):
    with pytest.raises(ShapeError, match=r"quantized_linear of .*3\]"):
        QuantizedLinear().infer(*types)
