"""Softmax, plain and masked (layers 3.17)."""

from __future__ import annotations

import numpy as np
import pytest

from hugectr2onnx.errors import GraphJsonError, ShapeError

X = np.array([[[[1, 2, 3, 4]]]], np.float32)
MASK = np.array([[[[1, 1, 0, 1]]]], np.float32)


def softmax(bottoms=1, **keys):
    names = ["in0", "in1"] if bottoms == 2 else "in0"
    return {"type": "Softmax", "bottom": names, "top": "out0", **keys}


@pytest.mark.parametrize("shape", [(2, 6), (2, 3, 2), (2, 1, 3, 2)])
def test_the_last_axis_is_normalised_whatever_the_rank(run_layer, shape):
    x = np.arange(12, dtype=np.float32).reshape(shape)
    (y,) = run_layer(softmax(), x)
    np.testing.assert_allclose(y, np.exp(x) / np.exp(x).sum(-1, keepdims=True), rtol=1e-5)


def test_the_factor_is_ignored_without_a_mask(run_layer):
    (y,) = run_layer(softmax(factor=0.5), np.array([[0, np.log(3)]], np.float32))
    np.testing.assert_allclose(y, [[0.25, 0.75]], rtol=1e-6)


def test_large_values_do_not_overflow(run_layer):
    (y,) = run_layer(softmax(), np.array([[1000, 1000]], np.float32))
    np.testing.assert_array_equal(y, [[0.5, 0.5]])


def test_a_mask_leaves_positions_out_and_the_factor_counts(run_layer):
    (y,) = run_layer(softmax(2, factor=0.5), X, MASK)
    np.testing.assert_allclose(y, [[[[0.140244, 0.231224, 0, 0.628531]]]], rtol=5e-6)


def test_a_mask_of_zeros_is_no_mask(run_layer):
    (y,) = run_layer(softmax(2, factor=0.5), X, 0 * MASK)
    np.testing.assert_allclose(y, [[[[0.101536, 0.167405, 0.276004, 0.455054]]]], rtol=2e-3)


def test_the_factor_is_one_in_files_without_it(run_layer):
    (y,) = run_layer(softmax(2), X, np.ones_like(MASK))
    np.testing.assert_allclose(y, np.exp(X) / np.exp(X).sum(), rtol=5e-6)


def test_one_mask_serves_every_head_and_every_query(run_layer):
    x = np.zeros((2, 3, 5, 4), np.float32)
    mask = np.array([[1, 1, 0, 0], [1, 1, 1, 1]], np.float32).reshape(2, 1, 1, 4)
    (y,) = run_layer(softmax(2), x, mask)
    np.testing.assert_allclose(y, np.broadcast_to(mask / mask.sum(-1, keepdims=True), x.shape), atol=1e-6)


@pytest.mark.parametrize("mask", [(1, 1, 1, 3), (1, 2, 1, 4), (1, 1, 2, 4), (1, 1, 4)])
def test_a_mask_that_does_not_fit_is_refused(run_layer, mask):
    with pytest.raises(ShapeError, match="mask"):
        run_layer(softmax(2), X, np.ones(mask, np.float32))


@pytest.mark.parametrize("factor", [np.nan, np.inf, 1e300])
def test_a_factor_that_is_no_float_is_refused(run_layer, factor):
    with pytest.raises(GraphJsonError, match=r"factor|not finite"):
        run_layer(softmax(2, factor=factor), X, MASK)
