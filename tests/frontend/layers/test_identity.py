"""Dropout and Cast (layers 3.8, 3.9)."""

from __future__ import annotations

import numpy as np
import pytest


@pytest.mark.parametrize("clause", [{"type": "Dropout", "rate": 0.5}, {"type": "Dropout"}, {"type": "Cast"}])
@pytest.mark.parametrize("shape", [(4, 6), (2, 3, 4), (2, 1, 3, 2)])
def test_evaluation_leaves_the_bottom_as_it_is(run_layer, clause, shape):
    x = np.random.default_rng(3).standard_normal(shape).astype(np.float32)
    (y,) = run_layer({**clause, "bottom": "in0", "top": "out0"}, x)
    np.testing.assert_array_equal(y, x)
