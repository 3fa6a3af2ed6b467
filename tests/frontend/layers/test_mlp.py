"""MLP (layers 3.3)."""

from __future__ import annotations

import numpy as np
import pytest

from hugectr2onnx.errors import GraphJsonError, ShapeError

W0 = np.array([[1, -1, 2], [0, 3, -2]], np.float32)
B0 = np.array([0.5, 0, -1], np.float32)
W1 = np.array([[1], [-2], [4]], np.float32)
B1 = np.array([-0.25], np.float32)
WEIGHTS = [W0, B0, W1, B1]
X = np.array([[1, 2], [3, 1], [-1, 0]], np.float32)


def mlp(bottom="in0", **mlp_param):
    param = {"num_output": 1, "num_outputs": [3, 1], **mlp_param}
    return {"type": "MLP", "bottom": bottom, "top": "out0", "mlp_param": param}


def relu(x):
    return np.where(x > 0, x, 0)


def test_every_sub_layer_ends_in_relu_by_default(run_layer):
    (y,) = run_layer(mlp(), X, weights=WEIGHTS)
    np.testing.assert_allclose(y, relu(relu(X @ W0 + B0) @ W1 + B1))


def test_one_activation_for_all(run_layer):
    (y,) = run_layer(mlp(activation="None", use_bias=True), X, weights=WEIGHTS)
    np.testing.assert_allclose(y, (X @ W0 + B0) @ W1 + B1)


def test_an_activation_for_each(run_layer):
    (y,) = run_layer(mlp(activations=["Relu", "None"]), X, weights=WEIGHTS)
    np.testing.assert_allclose(y, relu(X @ W0 + B0) @ W1 + B1)


def test_without_bias_the_bias_in_the_file_is_passed_over(run_layer):
    (y,) = run_layer(mlp(use_bias=False, activation="None"), X, weights=WEIGHTS)
    np.testing.assert_allclose(y, X @ W0 @ W1)


def test_a_bias_for_some(run_layer):
    (y,) = run_layer(mlp(biases=[False, True], activation="None"), X, weights=WEIGHTS)
    np.testing.assert_allclose(y, X @ W0 @ W1 + B1)


def test_the_second_bottom_is_a_gradient_buffer(run_layer):
    (y,) = run_layer(mlp(bottom=["in0", "in1"]), X, np.full_like(X, 99), weights=WEIGHTS)
    np.testing.assert_allclose(y, relu(relu(X @ W0 + B0) @ W1 + B1))


def test_the_example_of_the_dense_file(run_layer):
    # layers 2.1: W_0[3,4], b_0[4], W_1[4,2] and a b_1[2] that is in the file and must not be used.
    rng = np.random.default_rng(1)
    x, w0, b0, w1 = (rng.standard_normal(shape).astype(np.float32) for shape in ((5, 3), (3, 4), (4,), (4, 2)))
    clause = mlp(num_outputs=[4, 2], biases=[True, False])
    (y,) = run_layer(clause, x, weights=[w0, b0, w1, [7.0, 7.0]])
    np.testing.assert_allclose(y, relu(relu(x @ w0 + b0) @ w1), rtol=1e-5, atol=1e-6)


def test_three_dimensions_are_refused(run_layer):
    with pytest.raises(ShapeError, match="3 dimensions"):
        run_layer(mlp(), X[:, None], weights=WEIGHTS)


def test_no_sub_layer_is_refused(run_layer):
    with pytest.raises(GraphJsonError, match="num_outputs: expected the width of every sub-layer"):
        run_layer(mlp(num_outputs=[]), X, weights=WEIGHTS)


def test_an_output_width_of_zero_is_refused(run_layer):
    with pytest.raises(GraphJsonError, match=r"num_outputs.* at least 1"):
        run_layer(mlp(num_outputs=[3, 0]), X, weights=WEIGHTS)


@pytest.mark.parametrize("key, value", [("biases", [True]), ("activations", ["Relu"] * 3)])
def test_a_list_of_another_length_is_refused(run_layer, key, value):
    with pytest.raises(GraphJsonError, match=rf"mlp_param.{key}: expected 2 entries .* found {len(value)}"):
        run_layer(mlp(**{key: value}), X, weights=WEIGHTS)


def test_an_unknown_activation_is_refused(run_layer):
    with pytest.raises(GraphJsonError, match='expected the activation Relu or None, found "Tanh"'):
        run_layer(mlp(activation="Tanh"), X, weights=WEIGHTS)
