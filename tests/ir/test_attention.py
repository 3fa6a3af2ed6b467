"""Attention and MaskedSoftmax."""

from __future__ import annotations

import numpy as np
import pytest

from hugectr2onnx.errors import ShapeError
from hugectr2onnx.ir.ops.attention import Attention, FusedAttention, MaskedScores, MaskedSoftmax, MaskScores, drop
from hugectr2onnx.ir.types import N, f32

SCORES, MASK = f32(N, 2, 4, 6), f32(N, 1, 4, 6)
QUERIES, KEYS = f32(N, 4, 8), f32(N, 6, 8)

FITTING = [
    (MaskedSoftmax(0.5), (SCORES, MASK)),
    (MaskedSoftmax(), (SCORES, f32(N, 1, 1, 6))),
    (Attention(2), (QUERIES, KEYS, KEYS)),
    (Attention(8), (QUERIES, KEYS, KEYS)),
    (Attention(2, masked=True), (QUERIES, KEYS, KEYS, MASK)),
    (Attention(2, masked=True), (QUERIES, KEYS, KEYS, f32(N, 1, 1, 6))),
    (Attention(2), (f32(3, 4, 8), f32(3, 6, 8), f32(3, 6, 8))),
    (FusedAttention(2), (QUERIES, KEYS, KEYS)),
    (FusedAttention(2), (QUERIES, KEYS, KEYS, MASK)),
    (MaskScores(), (SCORES, MASK)),
    (MaskScores(), (SCORES, f32(N, 1, 1, 6))),
]


@pytest.mark.parametrize("op, types", FITTING)
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_shape_and_precision_are_those_of_the_first_operand(op, types, dtype):
    result = op.evaluate(*(np.ones(type.concrete(3), dtype) for type in types))
    assert op.infer(*types) == types[0]
    assert result.shape == types[0].concrete(3)
    assert result.dtype == dtype


@pytest.mark.parametrize(
    "op, types",
    [
        (MaskedSoftmax(), (f32(N, 4, 6), f32(N, 4, 6))),
        (MaskedSoftmax(), (SCORES, f32(N, 2, 4, 6))),
        (MaskedSoftmax(), (SCORES, f32(1, 1, 4, 6))),
        (MaskedSoftmax(), (SCORES, f32(N, 1, 4, 1))),
        (Attention(3), (QUERIES, KEYS, KEYS)),
        (Attention(0), (QUERIES, KEYS, KEYS)),
        (Attention(2), (QUERIES, KEYS, f32(N, 5, 8))),
        (Attention(2), (QUERIES, f32(N, 6, 4), f32(N, 6, 4))),
        (Attention(2), (f32(N, 8), f32(N, 8), f32(N, 8))),
        (Attention(2), (QUERIES, KEYS, KEYS, MASK)),
        (Attention(2, masked=True), (QUERIES, KEYS, KEYS)),
        (Attention(2, masked=True), (QUERIES, KEYS, KEYS, f32(N, 1, 6, 4))),
        (Attention(2), (f32(4, 6, N), f32(4, 6, N), f32(4, 6, N))),
        (FusedAttention(3), (QUERIES, KEYS, KEYS)),
        (FusedAttention(2), (QUERIES, KEYS, KEYS, f32(N, 1, 1, 6))),
        (FusedAttention(2), (QUERIES, KEYS, KEYS, MASK, MASK)),
    ],
)
def test_operands_that_do_not_fit_are_refused(op, types):
    with pytest.raises(
        ShapeError,
        match=r"masks here, not|must be \[B, F, H\], \[B, T, H\] and|the mask \[B, 1, F, T\]|must be \[B, 1, F, T\], not"
        r"|cannot be shared evenly by . attention heads",
    ):
        op.infer(*types)


def test_the_sum_of_a_masked_softmax_is_a_millionth_short():
    zeros, ones = np.zeros((1, 1, 1, 1)), np.ones((1, 1, 1, 1))
    np.testing.assert_allclose(MaskedSoftmax().evaluate(zeros, ones), 1 / (1 + 1e-6), rtol=1e-12)


def test_a_dropped_position_loses_ten_thousand():
    x, mask = np.array([0.0, 10001.0]).reshape(1, 1, 1, 2), np.array([1.0, 0.0]).reshape(1, 1, 1, 2)
    expected = np.exp([-1, 0]) / (np.exp(-1) + 1 + 1e-6)
    np.testing.assert_allclose(MaskedSoftmax().evaluate(x, mask).ravel(), expected, rtol=1e-12)


@pytest.mark.parametrize("types", [types for op, types in FITTING if isinstance(op, FusedAttention)])
@pytest.mark.parametrize("heads", [1, 2, 8])
def test_the_operator_of_onnx_agrees(agree, heads, types):
    agree(FusedAttention(heads), *types)


def test_fused_attention_by_hand():
    """One head of two numbers, one query, two keys; the bias takes the second key out."""
    q, k, v = np.array([[[3.0, 4.0]]]), np.array([[[1.0, 0.0], [9.0, 9.0]]]), np.array([[[5.0, 6.0], [7.0, 8.0]]])
    bias = np.array([0.0, -1e9]).reshape(1, 1, 1, 2)
    np.testing.assert_allclose(FusedAttention(1).evaluate(q, k, v, bias), [[[5.0, 6.0]]])
    share = 1 / (1 + np.exp((63.0 - 3.0) / np.sqrt(2)))
    expected = share * v[:, :1] + (1 - share) * v[:, 1:]
    np.testing.assert_allclose(FusedAttention(1).evaluate(q, k, v), expected)


def test_a_row_that_is_dropped_as_a_whole_keeps_scores_of_a_1024th():
    """HugeCTR subtracts in float32 (layers 3.15), so 0.3001 and 0.2999 of a masked row are both 307/1024."""
    x, mask = np.array([0.3001, 0.2999, 0.75]).reshape(1, 1, 1, 3), np.zeros((1, 1, 1, 3))
    rounded = np.array([307 / 1024, 307 / 1024, 0.75])
    expected = np.exp(rounded - 0.75) / (np.exp(rounded - 0.75).sum() + 1e-6)
    np.testing.assert_allclose(MaskedSoftmax().evaluate(x, mask).ravel(), expected, rtol=1e-12)


def test_what_is_kept_is_not_rounded():
    assert drop(np.array([0.3001, 0.3001]), np.array([0.0, 10000.0])).tolist() == [0.3001, 307 / 1024 - 10000]


def test_float32_shows_where_it_may_round_either_way():
    """307.5/1024 lies between two numbers; the reference takes one of them, and float32 says that it may be two off."""
    tie, clear = 307.5 / 1024, 307.2 / 1024
    dropped = np.array([10000.0, 10000.0])
    exact = drop(np.array([tie, clear]), dropped) + 10000
    single = drop(np.array([tie, clear], np.float32), dropped.astype(np.float32)).astype(np.float64) + 10000
    assert exact.tolist() in ([307 / 1024, 307 / 1024], [308 / 1024, 307 / 1024])
    assert single.tolist() == [309 / 1024, 307 / 1024]


@pytest.mark.parametrize("infinite", [np.inf, -np.inf, np.nan])
def test_what_is_not_finite_stays(infinite):
    with np.errstate(invalid="ignore"):
        found = drop(np.array([infinite, 1.0], np.float32), np.float32([10000, 10000]))
    np.testing.assert_array_equal(found, [infinite, -9999])


def test_scores_of_sides_are_those_of_the_bias():
    a, b = np.array([[[2.0, 1, -10000]]]), np.array([[[0.15005, 0.15005], [0, 0], [0, 1]]])
    assert MaskedScores(2).evaluate(a, b).tolist() == [[[0.3001, 307 / 1024 - 10000]]]


def test_scores_with_a_bias_are_rounded_where_it_drops():
    scores, bias = np.full((1, 1, 1, 2), 0.3001), np.array([0.0, -10000]).reshape(1, 1, 1, 2)
    assert MaskScores().evaluate(scores, bias).ravel().tolist() == [0.3001, 307 / 1024 - 10000]
