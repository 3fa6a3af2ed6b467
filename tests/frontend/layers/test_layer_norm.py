"""LayerNorm (layers 3.7)."""

from __future__ import annotations

import numpy as np
import pytest

from hugectr2onnx.errors import ShapeError

GAMMA_BETA = [[1, 2, 3], [0, 0.5, 1]]
EXPECTED = [-0.925819, -0.425819, 5.166186]


def layer_norm(eps=9.999999747378752e-06):
    return {"type": "LayerNorm", "bottom": "in0", "top": "out0", "ln_param": {"eps": eps}}


@pytest.mark.parametrize("shape", [(2, 3), (2, 4, 3), (2, 4, 5, 3)])
def test_the_last_axis_is_normalised(run_layer, shape):
    x = np.broadcast_to(np.array([1, 2, 6], np.float32), shape)
    (y,) = run_layer(layer_norm(), x, weights=GAMMA_BETA)
    np.testing.assert_allclose(y, np.broadcast_to(EXPECTED, shape), rtol=1e-5)


def test_equal_features_give_beta(run_layer):
    (y,) = run_layer(layer_norm(), np.full((1, 3), 7, np.float32), weights=GAMMA_BETA)
    np.testing.assert_array_equal(y, [[0, 0.5, 1]])


def test_eps_keeps_small_variances_small(run_layer):
    x = np.array([[-0.5, 0.5]], np.float32)
    (y,) = run_layer(layer_norm(eps=0.75), x, weights=[[1, 1], [0, 0]])
    np.testing.assert_allclose(y, x)


@pytest.mark.parametrize("shape", [(3,), (1, 1, 1, 1, 3)])
def test_other_ranks_are_refused(run_layer, shape):
    with pytest.raises(ShapeError, match="the layer takes 2 or 3 or 4"):
        run_layer(layer_norm(), np.zeros(shape, np.float32), weights=GAMMA_BETA)


def test_eps_is_a_hundred_thousandth_where_it_is_absent(run_layer):
    x = np.array([[-0.001, 0.001]], np.float32)
    clause = {"type": "LayerNorm", "bottom": "in0", "top": "out0"}
    (y,) = run_layer(clause, x, weights=[[1, 1], [0, 0]])
    np.testing.assert_allclose(y, x / np.sqrt(1e-6 + 1e-5), rtol=1e-4)
