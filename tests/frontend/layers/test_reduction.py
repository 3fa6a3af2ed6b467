"""ReduceSum and ReduceMean (layers 3.11)."""

from __future__ import annotations

import numpy as np
import pytest

from hugectr2onnx.errors import GraphJsonError, ShapeError
from hugectr2onnx.frontend.layers.reduction import ReduceMeanLayer, ReduceSumLayer

X = np.array([[[1, 2, 3], [4, 5, 6]], [[7, 8, 9], [10, 11, 13]]], np.float32)


def reduction(name, axis):
    return {"type": name, "bottom": "in0", "top": "out0", "axis": axis}


def test_the_reduced_axis_stays_with_length_one(run_layer):
    (y,) = run_layer(reduction("ReduceSum", 1), X)
    np.testing.assert_array_equal(y, [[[5, 7, 9]], [[17, 19, 22]]])


def test_the_last_axis(run_layer):
    (y,) = run_layer(reduction("ReduceSum", 2), X)
    np.testing.assert_array_equal(y, [[[6], [15]], [[24], [34]]])


def test_the_mean_divides_by_the_length_of_the_axis(run_layer):
    (y,) = run_layer(reduction("ReduceMean", 2), X)
    np.testing.assert_allclose(y, [[[2], [5]], [[8], [34 / 3]]], rtol=1e-6)


def test_axis_zero_mixes_the_batch(run_layer):
    (y,) = run_layer(reduction("ReduceMean", 0), X)
    np.testing.assert_array_equal(y, [[[4, 5, 6], [7, 8, 9.5]]])


def test_one_dimension(run_layer):
    (y,) = run_layer(reduction("ReduceSum", 0), np.array([1, 2, 4], np.float32))
    np.testing.assert_array_equal(y, [7])


@pytest.mark.parametrize("name", ["ReduceSum", "ReduceMean"])
def test_four_dimensions_are_refused(run_layer, name):
    with pytest.raises(ShapeError, match="4 dimensions, and HugeCTR reduces 1 to 3"):
        run_layer(reduction(name, 1), X[None])


def test_a_negative_axis_is_refused(run_layer):
    with pytest.raises(GraphJsonError, match="axis"):
        run_layer(reduction("ReduceSum", -1), X)


def test_an_axis_that_the_bottom_lacks_is_refused(run_layer):
    with pytest.raises(ShapeError, match="no axis 3"):
        run_layer(reduction("ReduceSum", 3), X)


def test_the_axis_is_one_where_it_is_absent(run_layer):
    (y,) = run_layer({"type": "ReduceSum", "bottom": ["in0"], "top": "out0"}, X)
    np.testing.assert_array_equal(y, [[[5, 7, 9]], [[17, 19, 22]]])


@pytest.mark.parametrize("layer", [ReduceSumLayer, ReduceMeanLayer])
def test_only_axis_zero_has_a_caveat(layer):
    assert [len(list(layer(axis=axis).caveats())) for axis in range(3)] == [1, 0, 0]
