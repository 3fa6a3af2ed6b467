"""Reductions and softmax."""

from __future__ import annotations

import numpy as np
import pytest

from hugectr2onnx.errors import ShapeError
from hugectr2onnx.ir.ops.reduce import ProductsOfRows, ReduceMean, ReduceSum, Softmax
from hugectr2onnx.ir.types import N, f32

X = np.array([[1.0, 2, 6], [-1, 0, 4]])


def test_values():
    np.testing.assert_array_equal(ReduceSum(1).evaluate(X), [[9], [3]])
    np.testing.assert_array_equal(ReduceSum(0, False).evaluate(X), [0, 2, 10])
    np.testing.assert_array_equal(ReduceMean(1, False).evaluate(X), [3, 1])
    np.testing.assert_allclose(Softmax().evaluate(np.log([[1.0, 3], [2, 2]])), [[0.25, 0.75], [0.5, 0.5]], rtol=1e-15)


@pytest.mark.parametrize("opset", [17, 18, 23])
@pytest.mark.parametrize("keepdims", [True, False])
@pytest.mark.parametrize("axis", [0, 1, 2])
@pytest.mark.parametrize("op", [ReduceSum, ReduceMean])
def test_reductions_agree(agree, op, axis, keepdims, opset):
    agree(op(axis, keepdims), f32(N, 3, 4), opset=opset)


@pytest.mark.parametrize("type", [f32(N), f32(N, 5), f32(N, 2, 3), f32(N, 2, 3, 1)], ids=str)
def test_softmax_agrees(agree, type):
    agree(Softmax(), type)


def test_softmax_does_not_overflow():
    with np.errstate(over="raise"):
        np.testing.assert_array_equal(Softmax().evaluate(np.float32([[1e38, -1e38]])), [[1, 0]])


@pytest.mark.parametrize("op", [ReduceSum(2), ReduceMean(-1), ReduceMean(2)], ids=str)
def test_an_axis_that_is_not_there_is_named(op):
    with pytest.raises(ShapeError, match=rf"f32\[N, 4\] has no axis {op.axis} to reduce"):
        op.infer(f32(N, 4))


def test_softmax_of_a_number_is_refused():
    with pytest.raises(ShapeError, match=r"f32\[\] has no axis"):
        Softmax().infer(f32())


def test_products_of_rows():
    x = np.array([[2.0, 3], [5, 7], [1, 1]])
    np.testing.assert_array_equal(ProductsOfRows(((0, 1), (1, 2))).evaluate(x), [[10, 21], [5, 7]])


@pytest.mark.parametrize("opset", [17, 18])
def test_products_of_rows_agree(agree, opset):
    op = ProductsOfRows(((0, 1, 2), (2, 1, 1), (0, 0, 0), (2, 0, 1)))
    assert op.infer(f32(3, N)) == f32(4, N)
    agree(op, f32(3, N), opset=opset)


@pytest.mark.parametrize(
    ("x", "rows"),
    [(f32(3, N), ((0,), (3,))), (f32(3, N), ((0, 1), (1,))), (f32(3, N), ()), (f32(N, 3), ((0,),))],
    ids=str,
)
def test_rows_that_are_not_there_are_refused(x, rows):
    with pytest.raises(ShapeError, match=r"has no products of the rows|lacks some of the rows"):
        ProductsOfRows(rows).infer(x)
