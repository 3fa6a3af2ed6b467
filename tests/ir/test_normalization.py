"""BatchNormalization, LayerNormalization and UnitLength."""

from __future__ import annotations

import numpy as np
import pytest

from hugectr2onnx.errors import ShapeError
from hugectr2onnx.ir.ops.normalization import BatchNormalization, LayerNormalization, UnitLength
from hugectr2onnx.ir.types import N, f32

BATCH = BatchNormalization(1e-5)
LAYER = LayerNormalization(1e-5)


@pytest.mark.parametrize(
    "op, types",
    [
        (BATCH, (f32(N, 3), f32(3), f32(3), f32(3), f32(3))),
        (LAYER, (f32(N, 3), f32(3), f32(3))),
        (LAYER, (f32(2, N, 4, 3), f32(3), f32(3))),
    ],
)
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_shape_and_precision_are_those_of_the_operand(op, types, dtype):
    result = op.evaluate(*(np.ones(type.concrete(5), dtype) for type in types))
    assert result.shape == op.infer(*types).concrete(5)
    assert result.dtype == dtype


@pytest.mark.parametrize(
    "op, types",
    [
        (BATCH, (f32(N, 2, 3), f32(3), f32(3), f32(3), f32(3))),
        (BATCH, (f32(N, 3), f32(3), f32(3), f32(3))),
        (BATCH, (f32(N, 3), f32(3), f32(3), f32(3), f32(6))),
        (LAYER, (f32(N, 3), f32(3), f32(1))),
        (LAYER, (f32(), f32(), f32())),
    ],
)
def test_operands_that_do_not_fit_are_refused(op, types):
    with pytest.raises(ShapeError, match=op.mnemonic):
        op.infer(*types)


def test_unit_length_is_the_direction_of_a_row():
    rows = np.array([[3.0, 4.0], [0.0, 0.0], [-2.0, 0.0]])
    assert UnitLength().evaluate(rows).tolist() == [[0.6, 0.8], [0.0, 0.0], [-1.0, 0.0]]
    with pytest.raises(ShapeError, match=r"f32\[\] has no axis along which it has a length"):
        UnitLength().infer(f32())


@pytest.mark.parametrize("type", [f32(N, 3), f32(N, 2, 5)], ids=str)
def test_unit_length_agrees(agree, type):
    assert UnitLength().infer(type) == type
    agree(UnitLength(), type)
