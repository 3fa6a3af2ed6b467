"""Dice and FrozenDice."""

from __future__ import annotations

import numpy as np
import pytest

from hugectr2onnx.errors import ShapeError
from hugectr2onnx.ir.ops.dice import Dice, FrozenDice
from hugectr2onnx.ir.types import N, f32


@pytest.mark.parametrize(
    "op, types", [(Dice(0.2, 1e-8), (f32(N, 3),)), (FrozenDice(0.2, 1e-8), (f32(N, 3), f32(3), f32(3)))]
)
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_shape_and_precision_are_those_of_the_operand(op, types, dtype):
    result = op.evaluate(*(np.ones(type.concrete(5), dtype) for type in types))
    assert op.infer(*types) == f32(N, 3)
    assert result.shape == (5, 3)
    assert result.dtype == dtype


@pytest.mark.parametrize("rows", [3, 7, 31, 100])
def test_rounding_cannot_make_the_variance_negative(rows):
    columns = np.broadcast_to(np.linspace(0.1, 9.9, 50, dtype=np.float32), (rows, 50))
    assert np.isfinite(Dice(0.5, 1e-12).evaluate(columns)).all()


def test_frozen_statistics_are_used_as_they_stand():
    result = FrozenDice(0.5, 0.0).evaluate(np.array([[3.0]]), np.array([1.0]), np.array([4.0]))
    p = 1 / (1 + np.exp(-1.0))
    np.testing.assert_allclose(result, [[p * 3 + (1 - p) * 0.5 * 3]], rtol=1e-12)


@pytest.mark.parametrize(
    "op, types",
    [
        (Dice(0.2, 1e-8), (f32(N, 3, 2),)),
        (FrozenDice(0.2, 1e-8), (f32(N, 3, 2), f32(3), f32(3))),
        (FrozenDice(0.2, 1e-8), (f32(N, 3), f32(3), f32(2))),
        (FrozenDice(0.2, 1e-8), (f32(N, 3), f32(1, 3), f32(3))),
    ],
)
def test_operands_that_do_not_fit_are_refused(op, types):
    with pytest.raises(ShapeError, match="Dice"):
        op.infer(*types)
