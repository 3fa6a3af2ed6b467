"""What depends on constants only is computed at compile time."""

from __future__ import annotations

import numpy as np
import pytest

from hugectr2onnx.ir.ops.elementwise import Add, Relu
from hugectr2onnx.ir.ops.lookup import SlotOffset
from hugectr2onnx.ir.ops.shape import Concat, Repeat, Reshape, Slice, Take, Transpose
from hugectr2onnx.ir.ops.structural import Const, Identity
from hugectr2onnx.ir.types import N, i64
from hugectr2onnx.passes.cleanup.fold_constants import fold_arithmetic, fold_constants

W = np.arange(8, dtype=np.float32).reshape(4, 2) / 3


@pytest.mark.parametrize(
    "op, expected",
    [
        (Transpose((1, 0)), W.T),
        (Reshape((2, 4)), W.reshape(2, 4)),
        (Slice(0, 1, 3), W[1:3]),
        (Take(1, (1, 1)), W[:, [1, 1]]),
        (Repeat(1, 2), W[:, [0, 0, 1, 1]]),
        (Concat(1), W),
        (Identity(), W),
    ],
    ids=str,
)
def test_what_moves_data_is_folded_without_rounding(graph, x, sound, op, expected):
    graph.output({"x": x, "y": graph.add(op, graph.const(W), name="folded")})
    assert sound(fold_constants, graph) == {"fold_constants": 1}
    y = graph.outputs["y"]
    np.testing.assert_array_equal(y.const, expected)
    assert (y.const.dtype, y.node.name) == (np.float32, "folded")


def test_before_and_after(graph, x, sound, body):
    graph.output({"y": x @ Transpose((1, 0))(graph.const(np.ascontiguousarray(W.T), "w"))})
    assert body(graph) == (
        "%transpose = transpose(%w) {perm=[1, 0]} : f32[4, 2]\n"
        "%mat_mul = mat_mul(%x, %transpose) : f32[N, 2]\n"
        "return y=%mat_mul"
    )
    sound(fold_constants, graph)
    assert body(graph) == "%mat_mul = mat_mul(%x, %const) : f32[N, 2]\nreturn y=%mat_mul"


def test_a_chain_folds_in_one_run_and_the_old_constants_go(graph, x, sound):
    graph.output({"y": x @ Identity()(Transpose((1, 0))(Transpose((1, 0))(graph.const(W))))})
    assert sound(fold_constants, graph) == {"fold_constants": 3}
    assert [node.op.mnemonic for node in graph] == ["input", "const", "mat_mul", "output"]


def test_integers_stay_integers(graph, x, sound):
    graph.output({"x": x, "y": Reshape((2, 2))(graph.const(np.array([1 << 62, -1, 3, (1 << 53) + 1])))})
    sound(fold_constants, graph)
    assert graph.outputs["y"].const.tolist() == [[1 << 62, -1], [3, (1 << 53) + 1]]


def test_arithmetic_is_not_exact(graph, x, sound):
    graph.output({"y": x @ (graph.const(W) * graph.const(W))})
    assert sound(fold_constants, graph) == {}


def test_arithmetic_is_rounded_once(graph, x, sound):
    tiny = graph.const(np.float32([1e-8]))
    graph.output({"x": x, "y": graph.const(np.float32([1])) + tiny - graph.const(np.float32([1]))})
    sound(fold_arithmetic, graph, tolerance=1e-7)
    assert graph.outputs["y"].const.dtype == np.float32


def test_arithmetic_before_and_after(graph, x, sound, body):
    graph.output(
        {"y": x * graph.add(Add(), graph.const(np.float32(2)), graph.const(np.float32([1, 2, 3, 4])), name="scale")}
    )
    assert sound(fold_arithmetic, graph, tolerance=1e-5) == {"fold_arithmetic": 1}
    assert body(graph) == "%mul = mul(%x, %scale) : f32[N, 4]\nreturn y=%mul"


def test_sources_are_kept(graph, x):
    with graph.building("fc1"):
        transposed = Transpose((1, 0))(graph.const(np.ascontiguousarray(W.T)))
    graph.output({"y": x @ transposed})
    fold_constants(graph)
    assert next(node for node in graph if isinstance(node.op, Const)).sources == ("fc1",)


@pytest.mark.parametrize("each", [fold_constants, fold_arithmetic])
def test_not_where_an_operand_is_computed(graph, x, sound, each):
    graph.output({"y": Concat(1)(x, Relu()(x)), "z": x * graph.const(np.float32([2]))})
    assert sound(each, graph) == {}


def test_not_the_batch(graph, sound):
    """An offset of keys that are an input is no constant, exact as it is."""
    graph.output({"y": SlotOffset((1, 2))(graph.input("k", i64(N, 2, 1)))})
    assert sound(fold_constants, graph) == {}


def test_not_what_would_blow_up_the_model(graph, x, sound, monkeypatch):
    monkeypatch.setitem(fold_constants.__globals__, "MAX_FOLDED_ELEMENTS", 16)
    graph.output({"x": x, "y": Repeat(1, 2)(graph.const(W)), "z": Repeat(1, 3)(graph.const(W))})
    assert sound(fold_constants, graph) == {"fold_constants": 1}


@pytest.mark.parametrize("each", [fold_constants, fold_arithmetic])
def test_a_scalar_stays_a_scalar(graph, x, sound, each):
    graph.output({"x": x, "y": Identity()(graph.const(np.float32(2)))})
    sound(each, graph, tolerance=1e-7)
    assert graph.outputs["y"].shape == ()


def test_not_what_overflows(graph, x, sound):
    large = graph.const(np.float32([1e30]))
    graph.output({"y": x * ((large * large) * graph.const(np.float32([1e-30]))) * graph.const(np.float32([1e-30]))})
    sound(fold_arithmetic, graph, tolerance=1e-5)
