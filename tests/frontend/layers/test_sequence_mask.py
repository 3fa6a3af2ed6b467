"""SequenceMask with one bottom and with two (layers 3.16)."""

from __future__ import annotations

import numpy as np
import pytest

from hugectr2onnx.errors import GraphJsonError, ShapeError

ONE = {"type": "SequenceMask", "bottom": "in0", "top": "out0", "max_sequence_len": 4}
TWO = {
    "type": "SequenceMask",
    "bottom": ["in0", "in1"],
    "top": "out0",
    "max_sequence_len_from": 3,
    "max_sequence_len_to": 4,
}


def column(*lengths):
    return np.array(lengths, np.float32).reshape(-1, 1)


def test_two_lengths_span_a_rectangle(run_layer):
    (y,) = run_layer(TWO, column(2), column(3))
    np.testing.assert_array_equal(y, [[[[1, 1, 1, 0], [1, 1, 1, 0], [0, 0, 0, 0]]]])


def test_one_length_marks_the_first_positions(run_layer):
    (y,) = run_layer(ONE, column(0, 1, 4))
    np.testing.assert_array_equal(y, [[[[0, 0, 0, 0]]], [[[1, 0, 0, 0]]], [[[1, 1, 1, 1]]]])


def test_lengths_are_truncated_toward_zero(run_layer):
    (y,) = run_layer(ONE, column(2.999, 0.5, -0.5, -3))
    np.testing.assert_array_equal(y.sum((1, 2, 3)), [2, 0, 0, 0])


def test_lengths_beyond_the_mask_fill_it(run_layer):
    (y,) = run_layer(ONE, column(5, 3e9, 1e30, np.inf))
    np.testing.assert_array_equal(y.sum((1, 2, 3)), [4, 4, 4, 4])


def test_lengths_that_are_no_numbers_and_huge_negative_ones_mask_everything(run_layer):
    (y,) = run_layer(ONE, column(np.nan, -3e9, -1e30, -np.inf))
    np.testing.assert_array_equal(y.sum((1, 2, 3)), [0, 0, 0, 0])


def test_lengths_must_be_one_column(run_layer):
    with pytest.raises(ShapeError, match="sequence lengths"):
        run_layer(ONE, np.zeros((3, 2), np.float32))


@pytest.mark.parametrize("key", ["max_sequence_len_from", "max_sequence_len_to"])
@pytest.mark.parametrize("value", [0, -1, 10**9])
def test_a_senseless_length_is_refused(run_layer, key, value):
    with pytest.raises(GraphJsonError, match=r"max_sequence_len|positions"):
        run_layer({**TWO, key: value}, column(1), column(1))


def test_the_keys_must_fit_the_bottoms(run_layer):
    with pytest.raises(GraphJsonError, match="max_sequence_len"):
        run_layer({**ONE, "bottom": ["in0", "in1"]}, column(1), column(1))
    with pytest.raises(GraphJsonError, match="max_sequence_len"):
        run_layer({**TWO, "bottom": "in0"}, column(1))
