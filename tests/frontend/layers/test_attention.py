"""MultiHeadAttention in its four generations (layers 3.15)."""

from __future__ import annotations

import numpy as np
import pytest

from hugectr2onnx.errors import GraphJsonError, ShapeError

RNG = np.random.default_rng(15)
Q = np.array([[[0, 0.1, 0.2, 0.3], [0.4, 0.5, 0.6, 0.7]]], np.float32)
K = (0.1 * np.arange(12).reshape(1, 3, 4)).astype(np.float32)
V = np.arange(12, dtype=np.float32).reshape(1, 3, 4)


def attention(bottoms, tops=1, **keys):
    names = [f"in{i}" for i in range(bottoms)]
    outputs = [f"out{i}" for i in range(tops)]
    return {"type": "MultiHeadAttention", "bottom": names, "top": outputs if tops > 1 else "out0", **keys}


def normal(*shape):
    return RNG.standard_normal(shape).astype(np.float32)


def heads_apart(x, heads):
    """[b, s, H] -> [b, heads, s, H / heads]"""
    return np.stack(np.split(x, heads, axis=2), axis=1)


def products(q, k):
    return np.einsum("bhfd,bhtd->bhft", q, k)


def test_a_and_b_do_not_scale_the_scores(run_layer):
    q, k = normal(2, 3, 4, 5), normal(2, 3, 6, 5)
    (y,) = run_layer(attention(2), q, k)
    np.testing.assert_allclose(y, products(q, k), rtol=1e-4, atol=1e-5)


def test_a_head_count_alone_does_not_scale_the_scores(run_layer):
    q, k = normal(2, 3, 4, 5), normal(2, 3, 4, 5)
    (y,) = run_layer(attention(2, num_attention_heads=3), q, k)
    np.testing.assert_allclose(y, products(q, k), rtol=1e-4, atol=1e-5)


def test_b_takes_the_heads_of_3d_bottoms_apart(run_layer):
    q, k = normal(2, 4, 6), normal(2, 4, 6)
    (y,) = run_layer(attention(2, num_attention_heads=3), q, k)
    np.testing.assert_allclose(y, products(heads_apart(q, 3), heads_apart(k, 3)), rtol=1e-4, atol=1e-5)


def test_c_scales_the_scores(run_layer):
    q, k = normal(2, 3, 4, 5), normal(2, 3, 6, 5)
    (y,) = run_layer(attention(2, num_attention_heads=1, transpose_b=True), q, k)
    np.testing.assert_allclose(y, products(q, k) / np.sqrt(5), rtol=1e-4, atol=1e-5)


def test_c_refuses_two_3d_bottoms(run_layer):
    """In v23.08 a 3D query needs key and values too; only B, which has no transpose_b, takes two (layers 3.15)."""
    with pytest.raises(ShapeError, match=r"both the same .*, which with transpose_b needs a third bottom"):
        run_layer(attention(2, num_attention_heads=2, transpose_b=True), normal(2, 3, 6), normal(2, 3, 6))


def test_c_without_transpose_merges_the_heads_of_the_4d_bottoms_whatever_their_stated_number(run_layer):
    p, v = normal(2, 3, 4, 6), normal(2, 3, 6, 5)
    (y,) = run_layer(attention(2, num_attention_heads=1, transpose_b=False), p, v)
    expected = np.concatenate([p[:, head] @ v[:, head] for head in range(3)], axis=2)
    np.testing.assert_allclose(y, expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("transpose_b", [True, False])
def test_c_with_two_tops_gives_scores_and_values(run_layer, transpose_b):
    q, k, v = normal(2, 4, 6), normal(2, 4, 6), normal(2, 4, 6)
    scores, values = run_layer(attention(3, tops=2, num_attention_heads=2, transpose_b=transpose_b), q, k, v)
    expected = products(heads_apart(q, 2), heads_apart(k, 2)) / np.sqrt(3)
    np.testing.assert_allclose(scores, expected, rtol=1e-4, atol=1e-5)
    np.testing.assert_array_equal(values, heads_apart(v, 2))


@pytest.mark.parametrize("transpose_b", [True, False])
def test_d_is_the_whole_attention(run_layer, transpose_b):
    (y,) = run_layer(attention(3, num_attention_heads=2, transpose_b=transpose_b), Q, K, V)
    expected = [[[4.075415, 5.075415, 6.375872, 7.375872], [4.671593, 5.671593, 6.959055, 7.959055]]]
    np.testing.assert_allclose(y, expected, rtol=1e-5)


def test_d_with_a_mask_leaves_positions_out(run_layer):
    mask = np.array([[[[1, 1, 0], [1, 1, 0]]]], np.float32)
    (y,) = run_layer(attention(4, num_attention_heads=2, transpose_b=False), Q, K, V, mask)
    expected = [[[2.028281, 3.028281, 4.141184, 5.141183], [2.253191, 3.253191, 4.363605, 5.363605]]]
    np.testing.assert_allclose(y, expected, rtol=1e-5)


def test_d_with_a_mask_of_zeros_attends_to_everything(run_layer):
    mask = np.zeros((1, 1, 2, 3), np.float32)
    (y,) = run_layer(attention(4, num_attention_heads=2, transpose_b=False), Q, K, V, mask)
    expected = [[[4.075415, 5.075415, 6.375872, 7.375872], [4.671593, 5.671593, 6.959055, 7.959055]]]
    np.testing.assert_allclose(y, expected, rtol=2e-3)


def test_d_takes_a_mask_that_is_the_same_for_every_query(run_layer):
    mask = np.array([[[[1, 1, 0]]]], np.float32)
    (y,) = run_layer(attention(4, num_attention_heads=2, transpose_b=False), Q, K, V, mask)
    np.testing.assert_allclose(y[0, :, 0], [2.028281, 2.253191], rtol=1e-5)


def test_d_does_not_overflow_where_the_scores_are_large(run_layer):
    (y,) = run_layer(attention(3, num_attention_heads=1), 100 * Q, 100 * K, V)
    np.testing.assert_allclose(y, [[[8, 9, 10, 11], [8, 9, 10, 11]]], rtol=1e-5)


def test_heads_that_do_not_divide_the_width_are_refused(run_layer):
    with pytest.raises(ShapeError, match="3 attention heads"):
        run_layer(attention(3, num_attention_heads=3), Q, K, V)


@pytest.mark.parametrize("heads", [0, -1])
def test_a_head_count_below_one_is_refused(run_layer, heads):
    with pytest.raises(GraphJsonError, match="num_attention_heads"):
        run_layer(attention(3, num_attention_heads=heads), Q, K, V)


@pytest.mark.parametrize(
    "clause, shapes",
    [
        (attention(2), [(2, 4, 6), (2, 5, 6)]),
        (attention(2), [(2, 3, 4, 5), (2, 4, 6)]),
        (attention(2), [(2, 3, 4, 5), (2, 1, 6, 5)]),
        (attention(2), [(2, 4), (2, 4)]),
        (attention(2, transpose_b=False), [(2, 3, 4, 6), (2, 3, 5, 6)]),
        (attention(2, transpose_b=False), [(2, 3, 4, 6), (2, 2, 6, 5)]),
        (attention(3, tops=2), [(2, 4, 6), (2, 5, 6), (2, 5, 6)]),
        (attention(3), [(2, 3, 4, 6), (2, 3, 4, 6), (2, 3, 4, 6)]),
        (attention(4, tops=2), [(2, 4, 6), (2, 4, 6), (2, 4, 6), (2, 1, 4, 4)]),
        (attention(4), [(2, 4, 6), (2, 4, 6), (2, 4, 6), (2, 1, 4, 5)]),
    ],
)
def test_bottoms_that_do_not_fit_are_refused(run_layer, clause, shapes):
    with pytest.raises(
        ShapeError, match=r"attention |\[B, |MultiHeadAttention has two tops|the last but one of the right"
    ):
        run_layer(clause, *(np.zeros(shape, np.float32) for shape in shapes))
