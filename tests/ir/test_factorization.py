"""FactorizationMachine."""

from __future__ import annotations

import numpy as np
import pytest

from hugectr2onnx.errors import ShapeError
from hugectr2onnx.ir.ops.factorization import FactorizationMachine
from hugectr2onnx.ir.types import N, f32


def test_all_pairs_of_slots_are_multiplied_and_summed():
    x = np.array([[[2.0], [3.0], [5.0]]])
    assert FactorizationMachine().evaluate(x) == [[2 * 3 + 2 * 5 + 3 * 5]]


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_the_slots_go_and_the_precision_stays(dtype):
    result = FactorizationMachine().evaluate(np.ones((5, 3, 2), dtype))
    assert result.shape == FactorizationMachine().infer(f32(N, 3, 2)).concrete(5)
    assert result.dtype == dtype


def test_a_matrix_is_refused():
    with pytest.raises(ShapeError, match="factorization_machine"):
        FactorizationMachine().infer(f32(N, 6))
