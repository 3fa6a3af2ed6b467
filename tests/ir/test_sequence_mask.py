"""SequenceMask."""

from __future__ import annotations

import numpy as np
import pytest

from hugectr2onnx.errors import ShapeError
from hugectr2onnx.ir.ops.sequence_mask import SequenceMask
from hugectr2onnx.ir.types import N, f32


@pytest.mark.parametrize("op, count", [(SequenceMask(1, 4), 1), (SequenceMask(3, 4), 2), (SequenceMask(1, 1), 2)])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_shape_and_precision(op, count, dtype):
    result = op.evaluate(*[np.ones((5, 1), dtype)] * count)
    assert op.infer(*[f32(N, 1)] * count) == f32(N, 1, op.from_steps, op.to_steps)
    assert result.shape == (5, 1, op.from_steps, op.to_steps)
    assert result.dtype == dtype


def test_a_comparison_with_the_length_is_the_comparison_with_its_truncation():
    around = np.arange(-3, 7, dtype=np.float32)
    lengths = np.concatenate([around, np.nextafter(around, -9), np.nextafter(around, 9), around + np.float32(0.5)])
    expected = [[position < int(length) for position in range(5)] for length in lengths.tolist()]
    result = SequenceMask(1, 5).evaluate(lengths.reshape(-1, 1))
    np.testing.assert_array_equal(result[:, 0, 0], expected)


@pytest.mark.parametrize(
    "op, types",
    [
        (SequenceMask(1, 4), (f32(N, 2),)),
        (SequenceMask(1, 4), (f32(N),)),
        (SequenceMask(3, 4), (f32(N, 1),)),
        (SequenceMask(3, 4), (f32(N, 1), f32(2, 1))),
        (SequenceMask(3, 4), (f32(N, 1),) * 3),
    ],
)
def test_operands_that_do_not_fit_are_refused(op, types):
    with pytest.raises(ShapeError, match="sequence lengths"):
        op.infer(*types)
