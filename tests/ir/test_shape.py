"""Operations that only move data."""

from __future__ import annotations

import re
from fractions import Fraction

import numpy as np
import pytest

from hugectr2onnx.errors import ShapeError
from hugectr2onnx.ir.ops.shape import Concat, Repeat, Reshape, Slice, Take, Transpose
from hugectr2onnx.ir.types import N, f32, i64, scale

X = np.array([[1, 2, 3], [4, 5, 6]])
VALUES = [
    (Reshape((3, 2)), [[1, 2], [3, 4], [5, 6]]),
    (Transpose((1, 0)), [[1, 4], [2, 5], [3, 6]]),
    (Slice(1, 1, 3), [[2, 3], [5, 6]]),
    (Slice(0, 1, 2), [[4, 5, 6]]),
    (Take(1, (2, 0, 2)), [[3, 1, 3], [6, 4, 6]]),
    (Repeat(1, 2), [[1, 1, 2, 2, 3, 3], [4, 4, 5, 5, 6, 6]]),
    (Repeat(0, 2), [[1, 2, 3], [1, 2, 3], [4, 5, 6], [4, 5, 6]]),
    (Concat(1), X.tolist()),
]


@pytest.mark.parametrize("op, expected", VALUES, ids=str)
def test_values(op, expected):
    np.testing.assert_array_equal(op.evaluate(X), expected)


def test_concat_joins():
    np.testing.assert_array_equal(Concat(1).evaluate(X, X[:, :1]), [[1, 2, 3, 1], [4, 5, 6, 4]])


CUBE = f32(N, 3, 4)
FITTING = [
    (Reshape((N, 12)), (CUBE,), f32(N, 12)),
    (Reshape((scale(N, 3), 4)), (CUBE,), f32(scale(N, 3), 4)),
    (Reshape((N, 3, 4)), (f32(scale(N, 3), 4),), CUBE),
    (Reshape((scale(N, Fraction(1, 2)), 24)), (f32(scale(N, 2), 6),), None),
    (Reshape((12, N)), (CUBE,), f32(12, N)),
    (Transpose((0, 2, 1)), (CUBE,), f32(N, 4, 3)),
    (Transpose((1, 0, 2)), (CUBE,), f32(3, N, 4)),
    (Concat(1), (CUBE, f32(N, 1, 4), CUBE), f32(N, 7, 4)),
    (Concat(2), (CUBE, CUBE), f32(N, 3, 8)),
    (Concat(0), (CUBE, CUBE), f32(scale(N, 2), 3, 4)),
    (Slice(1, 0, 2), (CUBE,), f32(N, 2, 4)),
    (Slice(2, 3, 4), (CUBE,), f32(N, 3, 1)),
    (Take(1, (2, 2, 0)), (CUBE,), CUBE),
    (Take(0, (0,)), (CUBE,), f32(1, 3, 4)),
    (Repeat(0, 3), (f32(N, 4),), f32(scale(N, 3), 4)),
    (Repeat(1, 3), (f32(N, 4),), f32(N, 12)),
    (Repeat(1, 2), (CUBE,), f32(N, 6, 4)),
]


@pytest.mark.parametrize("op, types, result", [case for case in FITTING if case[2]], ids=str)
def test_they_agree(agree, op, types, result):
    assert op.infer(*types) == result
    agree(op, *types)


def test_half_a_batch():
    op = Reshape((scale(N, Fraction(1, 2)), 24))
    assert op.infer(f32(N, 12)) == f32(scale(N, Fraction(1, 2)), 24)
    assert op.evaluate(np.zeros((4, 12))).shape == (2, 24)


MOVES = [Reshape((N, 12)), Transpose((0, 2, 1)), Concat(1), Slice(1, 0, 2), Take(1, (1,)), Repeat(1, 2)]


@pytest.mark.parametrize("op", MOVES, ids=str)
def test_every_element_type_passes_through(op):
    x = np.arange(24).reshape(2, 3, 4)
    assert op.infer(i64(N, 3, 4)).dtype.numpy == op.evaluate(x).dtype == np.int64
    assert op.evaluate(x.astype(np.float32)).dtype == np.float32


@pytest.mark.parametrize(
    "op, types, message",
    [
        (Reshape((N, 11)), (CUBE,), "f32[N, 3, 4] has 12N elements and cannot become f32[N, 11]"),
        (Reshape((12, 3)), (CUBE,), "f32[N, 3, 4] has 12N elements and cannot become f32[12, 3]"),
        (Transpose((0, 1)), (CUBE,), "f32[N, 3, 4] cannot be transposed by [0, 1]"),
        (Transpose((0, 1, 1)), (CUBE,), "f32[N, 3, 4] cannot be transposed by [0, 1, 1]"),
        (Concat(1), (CUBE, f32(N, 3, 5)), "f32[N, 3, 4], f32[N, 3, 5] cannot be joined along axis 1"),
        (Concat(3), (CUBE, CUBE), "f32[N, 3, 4], f32[N, 3, 4] cannot be joined along axis 3"),
        (Concat(-1), (CUBE, CUBE), "f32[N, 3, 4], f32[N, 3, 4] cannot be joined along axis -1"),
        (Concat(1), (CUBE, i64(N, 3, 4)), "f32[N, 3, 4], i64[N, 3, 4] cannot be joined along axis 1"),
        (Slice(1, 2, 4), (CUBE,), "the range [2, 4) does not lie within the 3 of f32[N, 3, 4]"),
        (Slice(1, 2, 2), (CUBE,), "the range [2, 2) does not lie within the 3 of f32[N, 3, 4]"),
        (Slice(1, -1, 2), (CUBE,), "the range [-1, 2) does not lie within the 3 of f32[N, 3, 4]"),
        (Slice(0, 0, 1), (CUBE,), "f32[N, 3, 4] has no axis 0 of known length to slice"),
        (Slice(3, 0, 1), (CUBE,), "f32[N, 3, 4] has no axis 3 of known length to slice"),
        (Take(1, (3,)), (CUBE,), "positions [3] cannot be taken from axis 1 of f32[N, 3, 4]"),
        (Take(1, (-1,)), (CUBE,), "positions [-1] cannot be taken from axis 1 of f32[N, 3, 4]"),
        (Take(1, ()), (CUBE,), "positions [] cannot be taken from axis 1 of f32[N, 3, 4]"),
        (Take(5, (0,)), (CUBE,), "f32[N, 3, 4] has no axis 5"),
        (Repeat(3, 2), (CUBE,), "axis 3 of f32[N, 3, 4] cannot be repeated 2 times"),
        (Repeat(1, 0), (CUBE,), "axis 1 of f32[N, 3, 4] cannot be repeated 0 times"),
    ],
    ids=str,
)
def test_what_does_not_fit_is_named(op, types, message):
    with pytest.raises(ShapeError, match=re.escape(message)):
        op.infer(*types)


def test_a_batch_and_a_number_cannot_be_joined():
    with pytest.raises(ShapeError, match="N and 3 cannot be added"):
        Concat(0).infer(f32(N, 4), f32(3, 4))
