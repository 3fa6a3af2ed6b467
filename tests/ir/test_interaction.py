"""DotInteraction."""

from __future__ import annotations

import numpy as np
import pytest

from hugectr2onnx.errors import ShapeError
from hugectr2onnx.ir.ops.interaction import DotInteraction
from hugectr2onnx.ir.types import N, f32


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("count, columns", [(1, 4 + 1 + 1), (3, 4 + 6 + 1), (26, 4 + 351 + 1)])
def test_shape_and_precision_are_those_of_the_operands(dtype, count, columns):
    types = (f32(N, 4), f32(N, count, 4))
    result = DotInteraction().evaluate(*(np.ones(type.concrete(3), dtype) for type in types))
    assert DotInteraction().infer(*types) == f32(N, columns)
    assert result.shape == (3, columns)
    assert result.dtype == dtype


@pytest.mark.parametrize(
    "types",
    [
        (f32(N, 4), f32(N, 3, 5)),
        (f32(N, 4), f32(2, 3, 4)),
        (f32(N, 4), f32(N, 12)),
        (f32(N, 3, 4), f32(N, 3, 4)),
        (f32(2, N), f32(2, 3, N)),
        (f32(2, 4), f32(2, N, 4)),
        (f32(N, 4), f32(N, 1025, 4)),
    ],
)
def test_operands_that_do_not_fit_are_refused(types):
    with pytest.raises(ShapeError, match="interact"):
        DotInteraction().infer(*types)
