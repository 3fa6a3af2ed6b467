"""BatchNorm (layers 3.6)."""

from __future__ import annotations

import numpy as np
import pytest

from hugectr2onnx.errors import GraphJsonError, ShapeError

GAMMA_BETA = [[2, 1], [0.1, -0.1]]
STATISTICS = ([0.5, 8], [4, 0.25])


def batch_norm(eps=9.999999747378752e-06):
    return {"type": "BatchNorm", "bottom": "in0", "top": "out0", "bn_param": {"factor": 1.0, "eps": eps}}


def test_the_running_statistics_normalise(run_layer):
    (y,) = run_layer(batch_norm(), np.array([[1, 10]], np.float32), weights=GAMMA_BETA, ntp=STATISTICS)
    np.testing.assert_allclose(y, [[0.599999, 3.89992]], rtol=1e-5)


def test_rows_do_not_influence_one_another(run_layer):
    x = np.array([[1, 10], [1000, -1000], [1, 10]], np.float32)
    (y,) = run_layer(batch_norm(), x, weights=GAMMA_BETA, ntp=STATISTICS)
    np.testing.assert_allclose(y[[0, 2]], [[0.599999, 3.89992]] * 2, rtol=1e-5)


def test_a_mean_far_from_zero_costs_no_precision(run_layer):
    mean, deviation = np.array([1e6, -1e6]), np.array([0.25, -0.5])
    x = (mean + deviation).astype(np.float32)[None]
    (y,) = run_layer(batch_norm(eps=0.0), x, weights=[[1, 1], [0, 0]], ntp=(mean, [1, 1]))
    np.testing.assert_allclose(y, [deviation])


def test_eps_is_a_hundred_thousandth_where_it_is_absent(run_layer):
    clause = {"type": "BatchNorm", "bottom": "in0", "top": "out0"}
    (y,) = run_layer(clause, np.ones((1, 1), np.float32), weights=[[1], [0]], ntp=([0], [0]))
    np.testing.assert_allclose(y, [[1 / np.sqrt(1e-5)]], rtol=1e-5)


def test_three_dimensions_are_refused(run_layer):
    with pytest.raises(ShapeError, match="3 dimensions"):
        run_layer(batch_norm(), np.zeros((2, 2, 2), np.float32), weights=GAMMA_BETA, ntp=STATISTICS)


def test_a_negative_eps_is_refused(run_layer):
    with pytest.raises(GraphJsonError, match=r"bn_param\.eps"):
        run_layer(batch_norm(eps=-1.0), np.zeros((1, 2), np.float32), weights=GAMMA_BETA, ntp=STATISTICS)
