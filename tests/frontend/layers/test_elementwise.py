"""Add, ElementwiseMultiply (DotProduct) and Sub (layers 3.10)."""

from __future__ import annotations

import numpy as np
import pytest

from hugectr2onnx.errors import GraphJsonError, ShapeError

A = np.array([[1, 2], [3, 4]], np.float32)
B = np.array([[10, 20], [30, 40]], np.float32)
C = np.array([[-1, 0.5], [0, 2]], np.float32)


def elementwise(name, bottoms):
    return {"type": name, "bottom": [f"in{i}" for i in range(bottoms)], "top": "out0"}


def test_add_takes_two_or_more(run_layer):
    (y,) = run_layer(elementwise("Add", 3), A, B, C)
    np.testing.assert_array_equal(y, [[10, 22.5], [33, 46]])


@pytest.mark.parametrize("name", ["ElementwiseMultiply", "DotProduct"])
def test_multiply_takes_two_or_more(run_layer, name):
    (y,) = run_layer(elementwise(name, 3), A, B, C)
    np.testing.assert_array_equal(y, [[-10, 20], [0, 320]])


def test_sub_takes_the_second_from_the_first(run_layer):
    (y,) = run_layer(elementwise("Sub", 2), A, B)
    np.testing.assert_array_equal(y, [[-9, -18], [-27, -36]])


def test_three_dimensions(run_layer):
    (y,) = run_layer(elementwise("Add", 2), A.reshape(2, 2, 1), B.reshape(2, 2, 1))
    np.testing.assert_array_equal(y, [[[11], [22]], [[33], [44]]])


@pytest.mark.parametrize("name", ["Add", "ElementwiseMultiply", "DotProduct", "Sub"])
def test_nothing_broadcasts(run_layer, name):
    with pytest.raises(ShapeError, match=r"same shape, .*\[N, 2\].*\[N, 1\]"):
        run_layer(elementwise(name, 2), A, B[:, :1])


def test_ranks_must_agree(run_layer):
    with pytest.raises(ShapeError, match="same shape"):
        run_layer(elementwise("Add", 2), A, B.reshape(2, 1, 2))


@pytest.mark.parametrize("name, bottoms", [("Add", 1), ("ElementwiseMultiply", 1), ("Sub", 1), ("Sub", 3)])
def test_another_number_of_bottoms_is_refused(run_layer, name, bottoms):
    with pytest.raises(GraphJsonError, match=f"not {bottoms}"):
        run_layer(elementwise(name, bottoms), *[A, B, C][:bottoms])
