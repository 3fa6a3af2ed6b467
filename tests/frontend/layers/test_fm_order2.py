"""FmOrder2 (layers 3.14)."""

from __future__ import annotations

import numpy as np
import pytest

from hugectr2onnx.errors import GraphJsonError, ShapeError

X = np.array([[1, 2, 3, 4, 5, 6]], np.float32)


def fm_order2(out_dim):
    return {"type": "FmOrder2", "bottom": "in0", "top": "out0", "out_dim": out_dim}


def test_all_pairs_of_slots_are_multiplied(run_layer):
    (y,) = run_layer(fm_order2(2), X)
    np.testing.assert_array_equal(y, [[1 * 3 + 1 * 5 + 3 * 5, 2 * 4 + 2 * 6 + 4 * 6]])


def test_the_example_of_the_specification(run_layer):
    (y,) = run_layer(fm_order2(2), X)
    np.testing.assert_array_equal(y, [[23, 44]])


def test_one_slot_has_no_pairs(run_layer):
    (y,) = run_layer(fm_order2(6), X)
    np.testing.assert_array_equal(y, np.zeros((1, 6)))


@pytest.mark.parametrize("out_dim", [4, 12, 2**31 - 1])
def test_a_width_that_is_no_multiple_is_refused(run_layer, out_dim):
    with pytest.raises(ShapeError, match="no multiple"):
        run_layer(fm_order2(out_dim), X)


def test_three_dimensions_are_refused(run_layer):
    with pytest.raises(ShapeError, match="3 dimensions"):
        run_layer(fm_order2(2), X.reshape(1, 3, 2))


def test_vectors_without_length_are_refused(run_layer):
    with pytest.raises(GraphJsonError, match="out_dim"):
        run_layer(fm_order2(0), X)
