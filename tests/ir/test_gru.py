"""Gru."""

from __future__ import annotations

import numpy as np
import pytest

from hugectr2onnx.errors import ShapeError
from hugectr2onnx.ir.ops.gru import Gru
from hugectr2onnx.ir.types import N, f32

WEIGHTS = (f32(12, 5), f32(12, 4), f32(12))


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_shape_and_precision_are_those_of_the_operand(dtype):
    types = (f32(3, N, 5), *WEIGHTS)
    result = Gru().evaluate(*(np.ones(type.concrete(2), dtype) for type in types))
    assert Gru().infer(*types) == f32(3, N, 4)
    assert result.shape == (3, 2, 4)
    assert result.dtype == dtype


def test_a_closed_update_gate_keeps_the_state_at_zero():
    bias = np.array([0.0, 100.0, 1.0])
    result = Gru().evaluate(np.ones((4, 1, 1)), np.zeros((3, 1)), np.zeros((3, 1)), bias)
    np.testing.assert_allclose(result, np.zeros((4, 1, 1)), atol=1e-12)


def test_the_reset_gate_scales_the_recurrent_product_only():
    bias, recurrent = np.array([-100.0, -100.0, 0.5]), np.array([[0.0], [0.0], [3.0]])
    result = Gru().evaluate(np.ones((3, 1, 1)), np.zeros((3, 1)), recurrent, bias)
    np.testing.assert_allclose(result.ravel(), np.full(3, np.tanh(0.5)), rtol=1e-12)


@pytest.mark.parametrize(
    "types",
    [
        (f32(3, 5), *WEIGHTS),
        (f32(3, N, 6), *WEIGHTS),
        (f32(3, N, 5), f32(12, 5), f32(4, 12), f32(12)),
        (f32(3, N, 5), f32(12, 5), f32(12), f32(12)),
        (f32(3, N, 5), f32(12, 5), f32(12, 4), f32(24)),
    ],
)
def test_operands_that_do_not_fit_are_refused(types):
    with pytest.raises(ShapeError, match="GRU"):
        Gru().infer(*types)
