"""FusedReshapeConcat and FusedReshapeConcatGeneral (layers 3.24)."""

from __future__ import annotations

import numpy as np
import pytest

from hugectr2onnx.errors import ShapeError

A = np.arange(12, dtype=np.float32).reshape(2, 3, 2)
B = 100 + np.arange(6, dtype=np.float32).reshape(2, 3, 1)
SPLIT = {"type": "FusedReshapeConcat", "bottom": ["in0", "in1"], "top": ["out0", "out1"]}
GENERAL = {"type": "FusedReshapeConcatGeneral", "bottom": ["in0", "in1"], "top": "out0"}


def test_the_last_slot_is_the_item_and_the_others_the_history(run_layer):
    history, item = run_layer(SPLIT, A, B)
    np.testing.assert_array_equal(history, [[0, 1, 100], [2, 3, 101], [6, 7, 103], [8, 9, 104]])
    np.testing.assert_array_equal(item, [[4, 5, 102], [10, 11, 105]])


def test_one_bottom_is_split_too(run_layer):
    history, item = run_layer({**SPLIT, "bottom": "in0"}, A)
    np.testing.assert_array_equal(history, [[0, 1], [2, 3], [6, 7], [8, 9]])
    np.testing.assert_array_equal(item, [[4, 5], [10, 11]])


def test_the_general_form_keeps_every_slot_as_a_row(run_layer):
    (y,) = run_layer(GENERAL, A, B)
    rows = [[0, 1, 100], [2, 3, 101], [4, 5, 102], [6, 7, 103], [8, 9, 104], [10, 11, 105]]
    np.testing.assert_array_equal(y, rows)


def test_the_general_form_of_one_slot(run_layer):
    (y,) = run_layer({**GENERAL, "bottom": "in0"}, A[:, :1])
    np.testing.assert_array_equal(y, [[0, 1], [6, 7]])


def test_one_slot_leaves_no_history(run_layer):
    with pytest.raises(ShapeError, match="two slots"):
        run_layer(SPLIT, A[:, :1], B[:, :1])


@pytest.mark.parametrize("clause", [SPLIT, GENERAL])
@pytest.mark.parametrize("other", [(2, 2, 1), (2, 3), (2, 3, 1, 1)])
def test_bottoms_that_do_not_fit_are_refused(run_layer, clause, other):
    with pytest.raises(ShapeError, match=r"every bottom must be \[B, s, v\], not |cannot be joined along axis 2"):
        run_layer(clause, A, np.zeros(other, np.float32))
