"""Reshape in its modes (layers 3.19)."""

from __future__ import annotations

from fractions import Fraction

import numpy as np
import pytest

from hugectr2onnx.errors import GraphJsonError, MissingInformationError, ShapeError
from hugectr2onnx.frontend.layers.reshape import ReshapeLayer
from hugectr2onnx.ir.graph import Graph
from hugectr2onnx.ir.types import Batch, N, f32

X = np.arange(24, dtype=np.float32).reshape(2, 3, 4)


def reshape(**keys):
    return {"type": "Reshape", "bottom": "in0", "top": "out0", **keys}


def imported(layer, *shape):
    return layer.build(Graph().input("in0", f32(*shape))).type


def test_leading_dim_joins_slots(run_layer):
    (y,) = run_layer(reshape(leading_dim=12, time_step=0), X)
    np.testing.assert_array_equal(y, X.reshape(2, 12))


def test_leading_dim_may_make_rows_of_slots(run_layer):
    (y,) = run_layer(reshape(leading_dim=4), X)
    np.testing.assert_array_equal(y, X.reshape(6, 4))


def test_leading_dim_may_join_samples(run_layer):
    (y,) = run_layer(reshape(leading_dim=24, time_step=0), X)
    np.testing.assert_array_equal(y, X.reshape(1, 24))


def test_time_step_is_the_middle_dimension(run_layer):
    (y,) = run_layer(reshape(leading_dim=2, time_step=6), X)
    np.testing.assert_array_equal(y, X.reshape(2, 6, 2))


def test_without_leading_dim_a_sample_is_a_row(run_layer):
    (y,) = run_layer(reshape(), X)
    np.testing.assert_array_equal(y, X.reshape(2, 12))


def test_selected_slots_stand_in_the_given_order_with_repeats(run_layer):
    (y,) = run_layer(reshape(selected=[2, 0, 2]), X)
    np.testing.assert_array_equal(y, [np.concatenate([x[2], x[0], x[2]]) for x in X])


def test_an_empty_selection_is_every_slot(run_layer):
    (y,) = run_layer(reshape(selected=[]), X)
    np.testing.assert_array_equal(y, X.reshape(2, 12))


def test_a_lost_shape_can_be_given(run_layer):
    (y,) = run_layer(reshape(leading_dim=0, time_step=0), X, attrs={"shape": [-1, 3, 2, 2]})
    np.testing.assert_array_equal(y, X.reshape(2, 3, 2, 2))


def test_dimensions_follow_the_batch():
    assert imported(ReshapeLayer(leading_dim=8), N, 4) == f32(Batch(Fraction(1, 2)), 8)
    assert imported(ReshapeLayer(leading_dim=4), N, 26, 4) == f32(Batch(Fraction(26)), 4)
    assert imported(ReshapeLayer(leading_dim=4, time_step=2), N, 4) == f32(Batch(Fraction(1, 2)), 2, 4)
    assert imported(ReshapeLayer(shape=(2, -1)), N, 4) == f32(2, Batch(Fraction(2)))
    assert imported(ReshapeLayer(selected=(1,)), N, 3, 4) == f32(N, 4)


def test_dimensions_may_all_be_numbers():
    assert imported(ReshapeLayer(leading_dim=8), 6, 4) == f32(3, 8)
    assert imported(ReshapeLayer(shape=(2, -1, 3)), 6, 4) == f32(2, 4, 3)
    assert imported(ReshapeLayer(), 6, 4, 2) == f32(6, 8)


def test_a_lost_shape_is_asked_for():
    with pytest.raises(MissingInformationError, match=r"layer_attrs=\{'<top>': \{'shape': \[-1, \.\.\.\]\}\}"):
        imported(ReshapeLayer(leading_dim=0), N, 4)


@pytest.mark.parametrize("shape", [(), (2, 3), (-1, -1), (-1, 0), (0, -1, 4)])
def test_a_shape_needs_one_open_entry(shape):
    with pytest.raises(GraphJsonError, match="must have one -1"):
        imported(ReshapeLayer(shape=shape), N, 12)


@pytest.mark.parametrize(
    "layer", [ReshapeLayer(leading_dim=5), ReshapeLayer(shape=(-1, 7)), ReshapeLayer(leading_dim=4, time_step=4)]
)
def test_a_remainder_is_refused(layer):
    with pytest.raises(ShapeError, match="cannot be divided"):
        imported(layer, 6, 4)


@pytest.mark.parametrize(
    "layer, shape",
    [
        (ReshapeLayer(selected=(3,)), (N, 3, 4)),
        (ReshapeLayer(selected=(-1,)), (N, 3, 4)),
        (ReshapeLayer(selected=(0,)), (N, 12)),
        (ReshapeLayer(), (2, N)),
    ],
)
def test_bottoms_that_do_not_fit_are_refused(layer, shape):
    with pytest.raises(
        ShapeError,
        match=r"takes slots \[B, S, V\]|needs samples of known size|cannot be taken from axis 1 of f32\[N, 3, 4\]",
    ):
        imported(layer, *shape)


def test_a_time_step_without_leading_dim_zero_is_refused():
    with pytest.raises(GraphJsonError, match="time_step 3"):
        imported(ReshapeLayer(leading_dim=0, time_step=3), N, 12)


@pytest.mark.parametrize("key", ["leading_dim", "time_step"])
def test_negative_sizes_are_refused(run_layer, key):
    with pytest.raises(GraphJsonError, match=key):
        run_layer(reshape(**{"leading_dim": 4, key: -4}), X)
