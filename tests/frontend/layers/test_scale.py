"""Scale (layers 3.25)."""

from __future__ import annotations

import numpy as np
import pytest

from hugectr2onnx.errors import GraphJsonError, ShapeError

X = np.array([[1, 2], [3, 4]], np.float32)


def scale(**scale_param):
    return {"type": "Scale", "bottom": "in0", "top": "out0", "scale_param": scale_param}


def test_axis_zero_repeats_elements(run_layer):
    (y,) = run_layer(scale(axis=0, factor=3.0), X)
    np.testing.assert_array_equal(y, [[1, 1, 1, 2, 2, 2], [3, 3, 3, 4, 4, 4]])


def test_axis_one_repeats_rows(run_layer):
    (y,) = run_layer(scale(axis=1, factor=3.0), X)
    np.testing.assert_array_equal(y, [[1, 2], [1, 2], [1, 2], [3, 4], [3, 4], [3, 4]])


@pytest.mark.parametrize("axis", [2, -1])
def test_any_other_axis_is_refused(run_layer, axis):
    with pytest.raises(GraphJsonError, match=f"Scale has axis {axis}: HugeCTR writes out of bounds"):
        run_layer(scale(axis=axis, factor=3.0), X)


def test_the_factor_loses_its_fraction(run_layer):
    (y,) = run_layer(scale(axis=0, factor=2.9), X)
    np.testing.assert_array_equal(y, [[1, 1, 2, 2], [3, 3, 4, 4]])


def test_the_defaults_change_nothing(run_layer):
    (y,) = run_layer(scale(), X)
    np.testing.assert_array_equal(y, X)


@pytest.mark.parametrize("factor", [0, 0.9, -2, 1e9, np.inf, np.nan])
def test_a_senseless_factor_is_refused(run_layer, factor):
    with pytest.raises(GraphJsonError, match="factor"):
        run_layer(scale(axis=0, factor=factor), X)


def test_three_dimensions_are_refused(run_layer):
    with pytest.raises(ShapeError, match=r"\[B, n\]"):
        run_layer(scale(axis=0, factor=2.0), X[None])
