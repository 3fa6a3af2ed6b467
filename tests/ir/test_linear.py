"""Matrix products."""

from __future__ import annotations

import numpy as np
import pytest

from hugectr2onnx.errors import ShapeError
from hugectr2onnx.ir.ops.elementwise import Elu, Relu, Sigmoid
from hugectr2onnx.ir.ops.linear import Accumulate, Linear, MatMul, TransposedLinear
from hugectr2onnx.ir.types import N, f32, scale

X, W, B = np.array([[1.0, 2], [-3, 1]]), np.array([[1.0, 0, 2], [0, 1, -1]]), np.array([10.0, 0, -1])


def test_values():
    np.testing.assert_array_equal(MatMul().evaluate(X, W), [[1, 2, 0], [-3, 1, -7]])
    np.testing.assert_array_equal(Linear().evaluate(X, W, B), [[11, 2, -1], [7, 1, -8]])
    np.testing.assert_array_equal(Linear(Relu()).evaluate(X, W, B), [[11, 2, 0], [7, 1, 0]])


@pytest.mark.parametrize(
    "types, result",
    [
        ((f32(N, 3), f32(3, 5)), f32(N, 5)),
        ((f32(N, 2, 3), f32(3, 5)), f32(N, 2, 5)),
        ((f32(N, 2, 3), f32(N, 3, 5)), f32(N, 2, 5)),
        ((f32(N, 4, 2, 3), f32(N, 4, 3, 1)), f32(N, 4, 2, 1)),
        ((f32(N, 1, 2, 3), f32(4, 3, 1)), f32(N, 4, 2, 1)),
        ((f32(scale(N, 26), 3), f32(3, 1)), f32(scale(N, 26), 1)),
    ],
    ids=str,
)
def test_mat_mul_agrees(agree, types, result):
    assert MatMul().infer(*types) == result
    agree(MatMul(), *types)


@pytest.mark.parametrize("activation", [None, Relu(), Sigmoid(), Elu(0.3)], ids=str)
@pytest.mark.parametrize("x", [f32(N, 3), f32(N, 2, 3), f32(scale(N, 4), 3), f32(N, 2, 2, 3)], ids=str)
def test_linear_agrees(agree, x, activation):
    assert Linear(activation).infer(x, f32(3, 5), f32(5)) == x.with_shape(*x.shape[:-1], 5)
    agree(Linear(activation), x, f32(3, 5), f32(5))


@pytest.mark.parametrize(
    "types", [(f32(N, 3), f32(4, 5)), (f32(N, 3), f32(3)), (f32(3), f32(3, 5)), (f32(N, 2, 3), f32(4, 3, 5))], ids=str
)
def test_mat_mul_refuses_what_does_not_fit(types):
    with pytest.raises(
        ShapeError, match=r"do not broadcast|the last dimension of the left must be the last but one of the right"
    ):
        MatMul().infer(*types)


def test_mat_mul_names_its_operands():
    with pytest.raises(ShapeError, match=r"f32\[N, 3\] @ f32\[4, 5\]"):
        MatMul().infer(f32(N, 3), f32(4, 5))


@pytest.mark.parametrize(
    "types",
    [
        (f32(N, 3), f32(4, 5), f32(5)),
        (f32(N, 3), f32(3, 5), f32(3)),
        (f32(N, 3), f32(3, 5), f32(1, 5)),
        (f32(3), f32(3, 5), f32(5)),
        (f32(N, 2, 3), f32(2, 3, 5), f32(5)),
    ],
    ids=str,
)
def test_linear_refuses_what_does_not_fit_and_names_it(types):
    with pytest.raises(ShapeError) as caught:
        Linear().infer(*types)
    assert str(caught.value) == f"linear of {types[0]} with a weight of {types[1]} and a bias of {types[2]}"


def test_values_on_top_of_others():
    np.testing.assert_array_equal(Accumulate().evaluate(X, W, np.ones((2, 3))), [[2, 3, 1], [-2, 2, -6]])
    np.testing.assert_array_equal(TransposedLinear().evaluate(W.T, X, B[:, None]), [[11, 7], [2, 1], [-1, -8]])


@pytest.mark.parametrize("columns", [1, 4])
def test_accumulate_agrees(agree, columns):
    types = f32(N, 3), f32(3, columns), f32(N, columns)
    assert Accumulate().infer(*types) == f32(N, columns)
    agree(Accumulate(), *types)


@pytest.mark.parametrize(
    "types",
    [
        (f32(N, 3), f32(3, 2), f32(N, 1)),
        (f32(N, 3), f32(3, 2), f32(2)),
        (f32(N, 2, 3), f32(3, 2), f32(N, 2, 2)),
        (f32(N, 3), f32(2, 2), f32(N, 2)),
    ],
    ids=str,
)
def test_accumulate_refuses_what_does_not_fit(types):
    with pytest.raises(
        ShapeError, match=r"cannot be added to|the last dimension of the left must be the last but one of the right"
    ):
        Accumulate().infer(*types)


@pytest.mark.parametrize("c", [f32(1, 1), f32(2, 1), f32(1, N), f32(2, N)], ids=str)
def test_transposed_linear_agrees(agree, c):
    types = f32(2, 3), f32(N, 3), c
    assert TransposedLinear().infer(*types) == f32(2, N)
    agree(TransposedLinear(), *types)


@pytest.mark.parametrize(
    "types",
    [
        (f32(2, 3), f32(N, 4), f32(1, 1)),
        (f32(2, 3), f32(N, 3), f32(3, 1)),
        (f32(1, 3), f32(N, 3), f32(2, N)),
        (f32(2, 3), f32(N, 3), f32(1)),
        (f32(2, 3), f32(N, 2, 3), f32(1, 1)),
    ],
    ids=str,
)
def test_transposed_linear_refuses_what_does_not_fit(types):
    with pytest.raises(ShapeError, match=r"transposed_linear of|do(es)? not broadcast"):
        TransposedLinear().infer(*types)
