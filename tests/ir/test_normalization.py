"""BatchNormalization and LayerNormalization."""

from __future__ import annotations

import numpy as np
import pytest

from hugectr2onnx.errors import ShapeError
from hugectr2onnx.ir.ops.normalization import BatchNormalization, LayerNormalization
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
