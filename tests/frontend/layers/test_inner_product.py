"""InnerProduct and FusedInnerProduct (layers 3.1, 3.2)."""

from __future__ import annotations

import numpy as np
import pytest

from hugectr2onnx.errors import GraphJsonError, ShapeError
from hugectr2onnx.frontend.layers.inner_product import width
from hugectr2onnx.ir.types import Batch, N, f32

WEIGHT = np.array([[1, -2], [3, -4], [5, -6]], np.float32)
BIAS = np.array([0.5, -0.5], np.float32)
X = np.array([[1, 0, 2], [0, -1, 1]], np.float32)
LINEAR = np.array([[11.5, -14.5], [2.5, -2.5]])


def inner_product(num_output=2):
    return {"type": "InnerProduct", "bottom": "in0", "top": "out0", "fc_param": {"num_output": num_output}}


def fused(bottoms=1, tops=1, **keys):
    bottom = [f"in{i}" for i in range(bottoms)]
    top = [f"out{i}" for i in range(tops)]
    return {"type": "FusedInnerProduct", "bottom": bottom, "top": top, "fc_param": {"num_output": 2}, **keys}


def test_rows_times_the_weight_plus_the_bias(run_layer):
    (y,) = run_layer(inner_product(), X, weights=[WEIGHT, BIAS])
    np.testing.assert_allclose(y, LINEAR)


def test_three_dimensions_use_the_last_axis(run_layer):
    x = np.arange(24, dtype=np.float32).reshape(2, 4, 3)
    (y,) = run_layer(inner_product(), x, weights=[WEIGHT, BIAS])
    assert y.shape == (2, 4, 2)
    np.testing.assert_allclose(y[1, 3], [21 * 1 + 22 * 3 + 23 * 5 + 0.5, -21 * 2 - 22 * 4 - 23 * 6 - 0.5])


def test_four_dimensions_are_refused(run_layer):
    with pytest.raises(ShapeError, match="4 dimensions, and the layer takes 2 or 3"):
        run_layer(inner_product(), np.zeros((2, 2, 2, 3), np.float32), weights=[WEIGHT, BIAS])


def test_an_output_width_of_zero_is_refused(run_layer):
    with pytest.raises(GraphJsonError, match=r"fc_param\.num_output"):
        run_layer(inner_product(num_output=0), X, weights=[WEIGHT, BIAS])


def test_fused_without_position_is_linear_then_relu(run_layer):
    (y,) = run_layer(fused(), X, weights=[WEIGHT, BIAS])
    np.testing.assert_allclose(y, [[11.5, 0], [2.5, 0]])


def test_fused_without_position_ignores_the_activation(run_layer):
    (y,) = run_layer(fused(position="None", activation="None"), X, weights=[WEIGHT, BIAS])
    np.testing.assert_allclose(y, [[11.5, 0], [2.5, 0]])


def test_fused_tail_may_leave_the_activation_out(run_layer):
    (y,) = run_layer(fused(position="Tail", activation="None"), X, weights=[WEIGHT, BIAS])
    np.testing.assert_allclose(y, LINEAR)


@pytest.mark.parametrize("bottoms, tops, position", [(1, 4, "Head"), (2, 4, "Head"), (4, 4, "Body"), (4, 1, "Tail")])
def test_fused_reads_the_first_bottom_and_makes_the_first_top(run_layer, bottoms, tops, position):
    buffers = [np.full_like(X, 99)] * (bottoms - 1)
    clause = fused(bottoms, tops, position=position, activation="Relu")
    (y,) = run_layer(clause, X, *buffers, weights=[WEIGHT, BIAS])
    np.testing.assert_allclose(y, [[11.5, 0], [2.5, 0]])


def test_fused_takes_two_dimensions_only(run_layer):
    with pytest.raises(ShapeError, match="3 dimensions, and the layer takes 2"):
        run_layer(fused(), X[:, None], weights=[WEIGHT, BIAS])


@pytest.mark.parametrize("key", ["position", "activation"])
def test_fused_refuses_words_that_it_does_not_know(run_layer, key):
    with pytest.raises(GraphJsonError, match=f'{key}: expected .*, found "Middle"'):
        run_layer(fused(**{key: "Middle"}), X, weights=[WEIGHT, BIAS])


def test_a_width_that_carries_the_batch_is_refused():
    with pytest.raises(ShapeError, match="carries the batch"):
        width(f32(4, Batch()), 2)


def test_a_width_is_the_last_dimension():
    assert width(f32(N, 4, 7), 2, 3) == 7
