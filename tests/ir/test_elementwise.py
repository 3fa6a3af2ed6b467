"""Operations that work element by element."""

from __future__ import annotations

import numpy as np
import pytest

from hugectr2onnx.errors import ShapeError
from hugectr2onnx.ir.ops.elementwise import Add, Div, Elu, Mul, Relu, Sigmoid, Sqrt, Sub
from hugectr2onnx.ir.ops.structural import Identity
from hugectr2onnx.ir.types import N, f32, i64, scale

A, B = np.array([[1.0, 2, -3]]), np.array([[4.0], [0.5]])
BINARY = {
    Add(): [[5, 6, 1], [1.5, 2.5, -2.5]],
    Sub(): [[-3, -2, -7], [0.5, 1.5, -3.5]],
    Mul(): [[4, 8, -12], [0.5, 1, -1.5]],
    Div(): [[0.25, 0.5, -0.75], [2, 4, -6]],
}
UNARY = {
    Relu(): ([-2, 0, 3], [0, 0, 3]),
    Sigmoid(): ([-1000, 0, np.log(3), 1000], [0, 0.5, 0.75, 1]),
    Sqrt(): ([0, 4, 2.25], [0, 2, 1.5]),
    Elu(): ([-np.log(2), 0, 3], [-0.5, 0, 3]),
    Elu(0.3): ([-np.log(4), 0, 3], [-0.225, 0, 3]),
    Identity(): ([-1, 2], [-1, 2]),
}


@pytest.mark.parametrize("op", BINARY, ids=str)
def test_binary_values(op):
    np.testing.assert_allclose(op.evaluate(A, B), BINARY[op], rtol=1e-15)


@pytest.mark.parametrize("op", UNARY, ids=str)
def test_unary_values(op):
    x, expected = UNARY[op]
    np.testing.assert_allclose(op.evaluate(np.array(x, np.float64)), expected, rtol=1e-15, atol=1e-300)


@pytest.mark.parametrize("op", BINARY, ids=str)
@pytest.mark.parametrize(
    "types",
    [
        (f32(N, 4), f32(N, 4)),
        (f32(N, 3, 4), f32(4)),
        (f32(N, 4), f32(N, 1)),
        (f32(scale(N, 2), 4), f32(1, 4)),
        (f32(N, 4), f32()),
    ],
    ids=str,
)
def test_binary_operations_agree(agree, op, types):
    tolerance = {"rtol": 1e-4} if isinstance(op, Div) else {}
    agree(op, *types, **tolerance)


@pytest.mark.parametrize("op", [Relu(), Sigmoid(), Elu(), Elu(0.3), Elu(-2.0), Identity()], ids=str)
@pytest.mark.parametrize("type", [f32(N, 4), f32(N, 2, 3), f32(scale(N, 26), 2, 1, 2), f32(N)], ids=str)
def test_unary_operations_agree(agree, op, type):
    agree(op, type)


@pytest.mark.parametrize("op", [*BINARY, Relu(), Sigmoid(), Sqrt(), Elu(0.7)], ids=str)
def test_float32_stays_float32(op):
    ones = np.ones((2, 3), np.float32)
    assert op.evaluate(*[ones] * (2 if op in BINARY else 1)).dtype == np.float32


def test_sigmoid_and_elu_do_not_overflow():
    extremes = np.array([-3e38, 3e38], np.float32)
    with np.errstate(over="raise", invalid="raise"):
        np.testing.assert_array_equal(Sigmoid().evaluate(extremes), [0, 1])
        np.testing.assert_array_equal(Elu(1.0).evaluate(extremes), extremes.clip(-1))


@pytest.mark.parametrize("op", [Relu(), Sigmoid(), Elu()], ids=str)
def test_nan_stays_nan(op):
    assert np.isnan(op.evaluate(np.array([np.nan]))).all()


@pytest.mark.parametrize("op", BINARY, ids=str)
def test_shapes_that_do_not_broadcast_are_named(op):
    with pytest.raises(ShapeError, match=r"\['N', '4'\] and \['N', '3'\]"):
        op.infer(f32(N, 4), f32(N, 3))


@pytest.mark.parametrize("op", BINARY, ids=str)
def test_element_types_that_differ_are_named(op):
    with pytest.raises(ShapeError, match=rf"{op.mnemonic} of f32\[N, 4\] and i64\[N, 4\]"):
        op.infer(f32(N, 4), i64(N, 4))


def test_what_commutes():
    assert (Add.commutative, Mul.commutative, Sub.commutative, Div.commutative) == (True, True, False, False)
