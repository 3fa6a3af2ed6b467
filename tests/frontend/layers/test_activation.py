"""ReLU, Sigmoid and ELU (layers 3.9)."""

from __future__ import annotations

import numpy as np
import pytest


def activation(name, **keys):
    return {"type": name, "bottom": "in0", "top": "out0", **keys}


X = np.array([[-2, -0.5, 0, 0.5, 2]], np.float32)


def test_relu_keeps_what_is_above_zero(run_layer):
    (y,) = run_layer(activation("ReLU"), X)
    np.testing.assert_array_equal(y, [[0, 0, 0, 0.5, 2]])


def test_sigmoid(run_layer):
    (y,) = run_layer(activation("Sigmoid"), X)
    np.testing.assert_allclose(y, 1 / (1 + np.exp(-X)), rtol=1e-6)


def test_sigmoid_saturates_without_overflow(run_layer):
    (y,) = run_layer(activation("Sigmoid"), np.array([[-1000, 1000]], np.float32))
    np.testing.assert_allclose(y, [[0, 1]], atol=1e-30)


@pytest.mark.parametrize("alpha", [1.0, 0.30000001192092896, 0.0])
def test_elu_bends_below_zero(run_layer, alpha):
    (y,) = run_layer(activation("ELU", elu_param={"alpha": alpha}), X)
    np.testing.assert_allclose(y, np.where(X < 0, alpha * (np.exp(X) - 1), X), rtol=1e-5)


def test_the_alpha_of_elu_is_one_where_it_is_absent(run_layer):
    (y,) = run_layer(activation("ELU"), X)
    np.testing.assert_allclose(y, np.where(X < 0, np.exp(X) - 1, X), rtol=1e-5)


@pytest.mark.parametrize("name", ["ReLU", "Sigmoid", "ELU"])
@pytest.mark.parametrize("shape", [(5,), (2, 3, 4), (2, 3, 4, 5)])
def test_any_rank_keeps_its_shape(run_layer, name, shape):
    (y,) = run_layer(activation(name, elu_param={"alpha": 1.0}), np.zeros(shape, np.float32))
    assert y.shape == shape
