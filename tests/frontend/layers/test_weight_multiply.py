"""WeightMultiply, which v2 called Multiply (layers 3.5)."""

from __future__ import annotations

import numpy as np
import pytest

from hugectr2onnx.errors import GraphJsonError, ShapeError

X = np.array([[2, 3], [-1, 0]], np.float32)
WEIGHT = [[1, 2, 3], [4, 5, 6]]


def weight_multiply(dims=(2, 3), name="WeightMultiply"):
    return {"type": name, "bottom": "in0", "top": "out0", "weight_dims": list(dims)}


@pytest.mark.parametrize("name", ["WeightMultiply", "Multiply"])
def test_every_feature_scales_its_own_vector(run_layer, name):
    (y,) = run_layer(weight_multiply(name=name), X, weights=[WEIGHT])
    np.testing.assert_array_equal(y, [[2, 4, 6, 12, 15, 18], [-1, -2, -3, 0, 0, 0]])


def test_another_number_of_features_is_refused(run_layer):
    with pytest.raises(ShapeError, match="weight_dims says 3 features"):
        run_layer(weight_multiply(dims=(3, 2)), X, weights=[WEIGHT])


def test_three_dimensions_are_refused(run_layer):
    with pytest.raises(ShapeError, match="3 dimensions"):
        run_layer(weight_multiply(), X[:, None], weights=[WEIGHT])


@pytest.mark.parametrize("dims", [(), (6,), (2, 3, 1), (2, 0), (2, -3)])
def test_dims_that_are_not_two_lengths_are_refused(run_layer, dims):
    with pytest.raises(GraphJsonError, match="weight_dims: expected two lengths"):
        run_layer(weight_multiply(dims), X, weights=[WEIGHT])
