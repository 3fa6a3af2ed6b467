"""Split."""

from __future__ import annotations

import numpy as np
import pytest

from hugectr2onnx.errors import ShapeError
from hugectr2onnx.ir.ops.split import Split
from hugectr2onnx.ir.types import N, f32


def test_the_pieces_follow_one_another():
    first, second = Split(1, (2, 1)).evaluate(np.array([[1, 2, 3], [4, 5, 6]], np.float32))
    assert first.tolist() == [[1, 2], [4, 5]]
    assert second.tolist() == [[3], [6]]


def test_each_piece_has_its_length():
    assert Split(1, (2, 1)).infer(f32(N, 3, 4)) == (f32(N, 2, 4), f32(N, 1, 4))


@pytest.mark.parametrize(
    "axis, sizes", [(1, (2, 2)), (1, (1, 1)), (1, (3, 0)), (1, ()), (0, (1, 1)), (2, (3,)), (-1, (3,))]
)
def test_sizes_that_do_not_fit_are_refused(axis, sizes):
    with pytest.raises(ShapeError, match="cannot be split into"):
        Split(axis, sizes).infer(f32(N, 3))
