"""CrossNetwork and LowRankCrossNetwork."""

from __future__ import annotations

import numpy as np
import pytest

from hugectr2onnx.errors import ShapeError
from hugectr2onnx.ir.ops.cross import CrossNetwork, LowRankCrossNetwork
from hugectr2onnx.ir.types import N, f32

V1 = (f32(N, 3), f32(3, 1), f32(3))
V2 = (f32(N, 3), f32(3, 2), f32(2, 3), f32(3))


@pytest.mark.parametrize("op, types", [(CrossNetwork(), V1), (LowRankCrossNetwork(), V2)])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_shape_and_precision_are_those_of_the_operand(op, types, dtype):
    result = op.evaluate(*(np.ones(type.concrete(5), dtype) for type in types))
    assert result.shape == op.infer(*types).concrete(5)
    assert result.dtype == dtype


def test_no_layers_change_nothing():
    assert CrossNetwork().infer(f32(N, 3)) == LowRankCrossNetwork().infer(f32(N, 3)) == f32(N, 3)


def test_the_projection_may_be_wider_than_the_features():
    assert LowRankCrossNetwork().infer(f32(N, 3), f32(3, 7), f32(7, 3), f32(3)) == f32(N, 3)


@pytest.mark.parametrize(
    "op, types",
    [
        (CrossNetwork(), (f32(N, 2, 3), f32(3, 1), f32(3))),
        (CrossNetwork(), (f32(N, 3), f32(3, 1))),
        (CrossNetwork(), (f32(N, 3), f32(4, 1), f32(4))),
        (CrossNetwork(), (f32(N, 3), f32(3), f32(3))),
        (LowRankCrossNetwork(), (f32(N, 3), f32(3, 2), f32(3, 2), f32(3))),
        (LowRankCrossNetwork(), (f32(N, 3), f32(3, 2), f32(2, 3))),
        (LowRankCrossNetwork(), (f32(N, 3), f32(3), f32(2, 3), f32(3))),
    ],
)
def test_operands_that_do_not_fit_are_refused(op, types):
    with pytest.raises(ShapeError, match=op.mnemonic):
        op.infer(*types)
