"""MatrixMultiply (layers 3.18)."""

from __future__ import annotations

import numpy as np
import pytest

from hugectr2onnx.errors import ShapeError
from hugectr2onnx.frontend.layers.matrix_multiply import MatrixMultiplyLayer
from hugectr2onnx.ir.graph import Graph
from hugectr2onnx.ir.types import N, f32

CLAUSE = {"type": "MatrixMultiply", "bottom": ["in0", "in1"], "top": "out0"}


def random(*shapes):
    rng = np.random.default_rng(18)
    return [rng.standard_normal(shape).astype(np.float32) for shape in shapes]


@pytest.mark.parametrize(
    "shapes, subscripts",
    [
        (((3, 4), (4, 5)), "mn,nk->mk"),
        (((2, 3, 4), (2, 4, 5)), "bmn,bnk->bmk"),
        (((2, 3, 4, 5), (2, 3, 5, 6)), "bgmn,bgnk->bgmk"),
        (((3, 4), (4, 2, 5)), "mn,ngh->mgh"),
    ],
)
def test_the_four_pairs_of_ranks(run_layer, shapes, subscripts):
    a, b = random(*shapes)
    (y,) = run_layer(CLAUSE, a, b, dynamic=False)
    np.testing.assert_allclose(y, np.einsum(subscripts, a, b), rtol=1e-4, atol=1e-5)


def types(*shapes):
    graph = Graph()
    return MatrixMultiplyLayer().build(*(graph.input(f"in{i}", f32(*shape)) for i, shape in enumerate(shapes))).type


def test_the_batch_may_be_the_left_rows_or_the_matrices():
    assert types((N, 4), (4, 2, 5)) == f32(N, 2, 5)
    assert types((N, 3, 4), (N, 4, 5)) == f32(N, 3, 5)


@pytest.mark.parametrize(
    "shapes",
    [
        ((1, 3, 4), (2, 4, 5)),
        ((2, 1, 3, 4), (2, 2, 4, 5)),
        ((2, 3, 4), (4, 5)),
        ((4,), (4, 5)),
        ((3, 4), (5, 4)),
        ((3, 4), (5, 4, 2)),
        ((N, 4), (N, 4, 2)),
    ],
)
def test_nothing_broadcasts(shapes):
    with pytest.raises(
        ShapeError,
        match=r"it takes 2D with 2D, 3D with 3D|the last dimension of the left must be the last but one of the right",
    ):
        types(*shapes)
