"""Which products are computed in bytes, and what becomes of them."""

from __future__ import annotations

import numpy as np
import pytest

from hugectr2onnx.errors import OptionError, UnsupportedError
from hugectr2onnx.ir.evaluator import evaluate
from hugectr2onnx.ir.graph import Graph
from hugectr2onnx.ir.ops.elementwise import Relu
from hugectr2onnx.ir.ops.factorization import FactorizationMachine
from hugectr2onnx.ir.ops.linear import Accumulate, Linear
from hugectr2onnx.ir.ops.quantized import DynamicQuantize, QuantizedLinear, RowQuantize
from hugectr2onnx.ir.ops.shape import Reshape
from hugectr2onnx.ir.types import N, f32
from hugectr2onnx.ir.verifier import verify
from hugectr2onnx.passes.precision.quantize_products import quantize_products

K = 512


@pytest.fixture
def graph():
    return Graph("g")


@pytest.fixture
def x(graph):
    return graph.input("x", f32(N, K))


def weight(graph, rows, columns, seed=0):
    return graph.const(np.random.default_rng(seed).normal(0, rows**-0.5, (rows, columns)).astype(np.float32))


def linear(graph, x, columns, layer, activation=None):
    with graph.building(layer):
        w = weight(graph, x.shape[-1], columns)
        return Linear(activation)(x, w, graph.const(np.ones(columns, np.float32)))


def perceptron(graph, x):
    """fc1 and fc2 are large, fc3 is the last one."""
    hidden = linear(graph, linear(graph, x, K, "fc1", Relu()), 256, "fc2", Relu())
    graph.output({"y": linear(graph, hidden, 300, "fc3")})


def test_large_products_but_the_last(graph, x):
    perceptron(graph, x)
    feeds = {"x": np.random.default_rng(1).normal(size=(5, K)).astype(np.float32)}
    before = evaluate(graph, feeds)["y"]
    choices = quantize_products(graph, "int8")
    verify(graph)
    assert [(each.layers, each.k, each.n, each.precision) for each in choices] == [
        (("fc1",), K, K, "int8"),
        (("fc2",), K, 256, "int8"),
        (("fc3",), 256, 300, "fp32"),
    ]
    assert choices[2].why == "it is a last product: nothing behind it averages its rounding errors"
    assert choices[0].bytes_after == K * K + 4 * K
    assert choices[0].bytes_before == 4 * K * K
    assert 0 < choices[0].rms_error < choices[0].max_error < 0.01
    change = evaluate(graph, feeds)["y"] - before
    assert 0 < change.std() < 0.03 * before.std()


def test_rows_that_do_not_depend_on_one_another(graph, x):
    perceptron(graph, x)
    feeds = {"x": np.random.default_rng(1).normal(size=(5, K)).astype(np.float32)}
    exact = evaluate(graph, feeds)["y"]
    choices = quantize_products(graph, {"*": "int8-row", "fc2": "int8-row"})
    verify(graph)
    assert [each.precision for each in choices] == ["int8-row", "int8-row", "fp32"]
    together = evaluate(graph, feeds)["y"]
    assert 0 < (together - exact).std() < 0.03 * exact.std()
    feeds["x"][1:] *= 1000
    np.testing.assert_array_equal(evaluate(graph, feeds)["y"][0], together[0])


def test_rectified_rows_use_all_bytes(graph, x):
    perceptron(graph, x)
    quantize_products(graph, {"*": "int8-row", "fc2": "int8-row"})
    assert [node.op for node in graph if isinstance(node.op, RowQuantize)] == [RowQuantize(), RowQuantize(True)]


def test_a_scale_for_each_row_pays_for_larger_products_only(graph, x):
    graph.output({"y": linear(graph, linear(graph, x, 128, "fc1"), 1, "fc2")})
    (first, _) = quantize_products(graph, "int8-row")
    assert (first.precision, first.why) == ("fp32", "too small to gain: 512 x 128")


def test_float_products_are_left_alone(graph, x):
    perceptron(graph, x)
    before = str(graph)
    assert quantize_products(graph, "fp32") == ()
    assert str(graph) == before


def test_one_operand_of_several_products_is_quantized_once(graph, x):
    both = linear(graph, x, K, "fc1", Relu()) + linear(graph, x, K, "fc2", Relu())
    graph.output({"y": linear(graph, both, 1, "fc3")})
    assert [each.operand for each in quantize_products(graph, "int8")[:2]] == ["fc1.linear.operand"] * 2
    assert sum(isinstance(node.op, DynamicQuantize) for node in graph) == 1


def test_a_sum_with_a_product_stays_a_sum(graph, x):
    with graph.building("fc1"):
        total = Accumulate()(x, weight(graph, K, 256), graph.input("c", f32(N, 256)))
    graph.output({"y": linear(graph, total, 1, "fc2")})
    quantize_products(graph, "int8")
    assert "%add = add(%quantized_linear, %c)" in str(graph)


def test_layers_by_name(graph, x):
    perceptron(graph, x)
    choices = quantize_products(graph, {"*": "int8", "fc1": "fp32", "fc3": "int8"})
    assert [(each.precision, each.why) for each in choices] == [
        ("fp32", "asked for"),
        ("int8", "large enough to gain"),
        ("int8", "large enough to gain"),
    ]


def test_layers_that_are_not_named_stay_float(graph, x):
    perceptron(graph, x)
    assert [each.precision for each in quantize_products(graph, {"fc2": "int8"})] == ["fp32", "int8", "fp32"]


def test_an_unknown_layer_is_refused(graph, x):
    perceptron(graph, x)
    with pytest.raises(OptionError, match=r"precision names 'fc9', which is no layer with a product \(fc\d\?\)"):
        quantize_products(graph, {"fc9": "fp32"})


SQUARES = {
    "its own square": lambda g, p: p * p,
    "the square of a sum": lambda g, p: (p + g.input("s", f32(N, 256))) * (p + g.input("t", f32(N, 256))),
    "a factorization machine": lambda g, p: FactorizationMachine()(Reshape((N, 16, 16))(p)),
}


@pytest.mark.parametrize("square", ["its own square", "a factorization machine"])
def test_what_is_squared_stays_exact(graph, x, square):
    product = linear(graph, x, 256, "fm")
    squared = SQUARES[square](graph, product)
    graph.output({"y": linear(graph, squared, 1, "fc")})
    assert quantize_products(graph, "int8")[0].why.startswith("it is part of squares that are subtracted")


def test_the_product_of_two_sums_is_no_square(graph, x):
    graph.output({"y": linear(graph, SQUARES["the square of a sum"](graph, linear(graph, x, 256, "cross")), 1, "fc")})
    assert quantize_products(graph, "int8")[0].precision == "int8"


def test_a_square_that_is_multiplied_stays_exact(graph, x):
    graph.output({"y": linear(graph, linear(graph, x * x, 256, "fm"), 1, "fc")})
    assert quantize_products(graph, "int8")[0].precision == "fp32"


def test_a_named_square_is_refused(graph, x):
    product = linear(graph, x, 256, "fm")
    graph.output({"y": product * product})
    with pytest.raises(UnsupportedError, match=r"fm\.linear cannot be int8: it is part of squares"):
        quantize_products(graph, {"fm": "int8"})


def test_weights_that_are_not_finite_stay_float(graph, x):
    w = np.full((K, 256), np.inf, np.float32)
    graph.output({"y": linear(graph, x @ graph.const(w), 1, "fc")})
    assert quantize_products(graph, "int8")[0].why == "its weights are not finite"


def test_products_of_products_have_no_constant_to_store(graph, x):
    graph.output({"y": x @ graph.input("w", f32(K, 256))})
    assert quantize_products(graph, "int8") == ()


def test_what_is_quantized_is_named_after_its_product(graph, x):
    perceptron(graph, x)
    quantize_products(graph, "int8")
    assert [node.name for node in graph if isinstance(node.op, DynamicQuantize)] == [
        "fc1.linear.operand",
        "fc2.linear.operand",
    ]
    assert sum(isinstance(node.op, QuantizedLinear) for node in graph) == 2
