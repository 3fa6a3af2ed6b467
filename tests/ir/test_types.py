"""Types: dimensions that carry the batch, element counts, broadcasting."""

from __future__ import annotations

from fractions import Fraction

import numpy as np
import pytest

from hugectr2onnx.errors import ShapeError
from hugectr2onnx.ir.types import Batch, DType, N, broadcast, elements, f32, i64, scale


@pytest.mark.parametrize("factor, text", [(1, "N"), (26, "26N"), (Fraction(1, 2), "N/2"), (Fraction(3, 2), "3N/2")])
def test_how_a_multiple_of_the_batch_reads(factor, text):
    assert str(Batch(Fraction(factor))) == text


def test_a_type_reads_like_the_ir():
    assert str(f32(N, 13)) == "f32[N, 13]"
    assert str(i64(scale(N, 26), 1)) == "i64[26N, 1]"
    assert str(f32()) == "f32[]"


def test_folding_slots_into_the_batch_and_back():
    assert scale(scale(N, 26), Fraction(1, 26)) == N


def test_a_plain_dimension_stays_whole():
    assert scale(6, Fraction(1, 3)) == 2
    with pytest.raises(ShapeError, match="7 cannot be divided by 2"):
        scale(7, Fraction(1, 2))


def test_elements():
    assert elements((2, 3, 4)) == 24
    assert elements((26, N, 2)) == Batch(Fraction(52))
    assert elements(()) == 1


def test_two_dimensions_cannot_carry_the_batch():
    with pytest.raises(ShapeError, match="two dimensions carry the batch"):
        elements((N, N))


def test_concrete_shapes():
    assert f32(Batch(Fraction(3, 2)), 4).concrete(2) == (3, 4)
    with pytest.raises(ShapeError, match="3N/2 is not a whole number at a batch of 1"):
        f32(Batch(Fraction(3, 2)), 4).concrete(1)


@pytest.mark.parametrize(
    "shapes, result",
    [
        (((N, 4), (4,)), (N, 4)),
        (((N, 1), (1, 4)), (N, 4)),
        (((N, 3, 1), (5,)), (N, 3, 5)),
        (((), (N, 2)), (N, 2)),
        (((1,), (1,)), (1,)),
    ],
)
def test_broadcast(shapes, result):
    assert broadcast(*shapes) == result


@pytest.mark.parametrize("shapes", [((N, 4), (N, 3)), ((N, 4), (2, 4)), ((N, 1), (scale(N, 2), 1))])
def test_what_does_not_broadcast_is_named(shapes):
    with pytest.raises(ShapeError, match=r"\[.*\] and \[.*\] do not broadcast"):
        broadcast(*shapes)


def test_element_types_of_arrays():
    assert DType.of(np.zeros(1, np.float32)) is DType.F32
    assert DType.of(np.zeros(1, "<i8")) is DType.I64
    assert DType.of(np.zeros(1, np.bool_)) is DType.BOOL
    with pytest.raises(ShapeError, match="float64"):
        DType.of(np.zeros(1))


def test_numpy_of_an_element_type():
    assert [dtype.numpy for dtype in DType] == [np.float32, np.int64, np.int32, np.int8, np.uint8, np.bool_]
