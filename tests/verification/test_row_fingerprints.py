"""Fingerprints tell rows apart by their bits."""

from __future__ import annotations

import numpy as np
import pytest

from hugectr2onnx.verification.row_fingerprints import Fingerprints


@pytest.mark.parametrize("dtype", [np.float32, np.float16, np.int8])
@pytest.mark.parametrize("width", [1, 2, 3, 16])
def test_the_same_rows_have_the_same_fingerprints_wherever_they_stand(dtype: type, width: int) -> None:
    rows = np.random.default_rng(0).normal(0, 50, (100, width)).astype(dtype)
    prints = Fingerprints(rows.dtype.itemsize * width)
    order = np.random.default_rng(1).permutation(100)
    np.testing.assert_array_equal(prints.of(rows[order]), prints.of(rows)[order])


@pytest.mark.parametrize("bit", range(32))
def test_one_bit_in_two_columns_does_not_cancel_out(bit: int) -> None:
    rows = np.random.default_rng(0).normal(size=(50, 8)).astype(np.float32)
    changed = rows.copy().view(np.uint32)
    changed[:, [2, 5]] ^= np.uint32(1 << bit)
    prints = Fingerprints(32)
    assert (prints.of(rows) != prints.of(changed)).all()


def test_swapped_columns_are_another_row() -> None:
    rows = np.array([[1.0, 2.0], [2.0, 1.0]], np.float32)
    first, second = Fingerprints(8).of(rows)
    assert first != second
