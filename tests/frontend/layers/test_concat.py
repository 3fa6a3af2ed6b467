"""Concat (layers 3.23)."""

from __future__ import annotations

import numpy as np
import pytest

from hugectr2onnx.errors import GraphJsonError, ShapeError


def concat(bottoms, **keys):
    names = [f"in{i}" for i in range(bottoms)]
    return {"type": "Concat", "bottom": names if bottoms > 1 else "in0", "top": "out0", **keys}


@pytest.mark.parametrize("keys", [{}, {"axis": 1}, {"axis": 2}, {"axis": 0}])
def test_2d_bottoms_stand_side_by_side_whatever_the_axis(run_layer, keys):
    a, b = np.array([[1, 2], [3, 4]], np.float32), np.array([[5], [6]], np.float32)
    (y,) = run_layer(concat(2, **keys), a, b)
    np.testing.assert_array_equal(y, [[1, 2, 5], [3, 4, 6]])


@pytest.mark.parametrize("axis, others", [(1, [(2, 3, 4), (2, 1, 4)]), (2, [(2, 3, 4), (2, 3, 1)])])
def test_3d_bottoms_join_along_the_axis(run_layer, axis, others):
    a, b = (np.random.default_rng(23).standard_normal(shape).astype(np.float32) for shape in others)
    (y,) = run_layer(concat(2, axis=axis), a, b)
    np.testing.assert_array_equal(y, np.concatenate([a, b], axis))


def test_3d_bottoms_join_along_axis_one_in_files_without_it(run_layer):
    (y,) = run_layer(concat(2), np.zeros((2, 3, 4), np.float32), np.ones((2, 2, 4), np.float32))
    np.testing.assert_array_equal(y[0, :, 0], [0, 0, 0, 1, 1])


def test_one_bottom_is_legal(run_layer):
    (y,) = run_layer(concat(1, axis=1), np.array([[1, 2]], np.float32))
    np.testing.assert_array_equal(y, [[1, 2]])


@pytest.mark.parametrize("axis", [0, 3, -1])
def test_other_axes_are_refused_for_3d_bottoms(run_layer, axis):
    with pytest.raises(GraphJsonError, match="axis"):
        run_layer(concat(2, axis=axis), np.zeros((2, 3, 4), np.float32), np.zeros((2, 3, 4), np.float32))


@pytest.mark.parametrize("shapes", [[(2, 3), (2, 3, 4)], [(2, 3, 4, 5)] * 2, [(2, 3, 4), (2, 3, 5)]])
def test_bottoms_that_do_not_fit_are_refused(run_layer, shapes):
    with pytest.raises(ShapeError, match=r"Concat takes bottoms all 2D or all 3D, not |cannot be joined along axis 1"):
        run_layer(concat(2, axis=1), *(np.zeros(shape, np.float32) for shape in shapes))
