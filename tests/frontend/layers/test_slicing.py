"""Slice (layers 3.22)."""

from __future__ import annotations

import numpy as np
import pytest

from hugectr2onnx.errors import GraphJsonError, ShapeError
from hugectr2onnx.frontend.layers.slicing import SliceLayer
from hugectr2onnx.ir.graph import Graph
from hugectr2onnx.ir.types import N, f32


def slicing(*ranges):
    tops = [f"out{i}" for i in range(len(ranges))]
    return {"type": "Slice", "bottom": "in0", "top": tops, "ranges": [list(pair) for pair in ranges]}


@pytest.mark.parametrize("shape", [(2, 10), (2, 3, 10), (2, 1, 3, 10)])
def test_ranges_count_on_the_last_axis(run_layer, shape):
    x = np.arange(np.prod(shape), dtype=np.float32).reshape(shape)
    first, second = run_layer(slicing((0, 3), (3, 10)), x)
    np.testing.assert_array_equal(first, x[..., :3])
    np.testing.assert_array_equal(second, x[..., 3:])


def test_ranges_may_overlap_and_repeat(run_layer):
    x = np.arange(12, dtype=np.float32).reshape(2, 6)
    first, second, third = run_layer(slicing((0, 4), (2, 6), (2, 6)), x)
    np.testing.assert_array_equal(first, x[:, :4])
    np.testing.assert_array_equal(second, x[:, 2:])
    np.testing.assert_array_equal(third, x[:, 2:])


def test_a_copy_of_one_column_of_a_wider_tensor_is_taken_literally(run_layer):
    x = np.arange(6, dtype=np.float32).reshape(2, 3)
    first, second = run_layer(slicing((0, 1), (0, 1)), x)
    np.testing.assert_array_equal(first, x[:, :1])
    np.testing.assert_array_equal(second, x[:, :1])


def test_a_single_range(run_layer):
    (y,) = run_layer({**slicing((1, 3)), "top": "out0"}, np.array([[1, 2, 3]], np.float32))
    np.testing.assert_array_equal(y, [[2, 3]])


def test_every_top_has_an_operation_of_its_own():
    x = Graph().input("in0", f32(N, 3))
    tops = SliceLayer(ranges=((0, 3), (0, 3))).build(x)
    assert len({id(top.node) for top in tops}) == 2
    assert x.node not in {top.node for top in tops}


@pytest.mark.parametrize("ranges", [((2, 4), (0, 6)), ((0, 6), (0, 4))])
def test_ranges_that_go_backwards_are_refused(run_layer, ranges):
    with pytest.raises(GraphJsonError, match="backwards"):
        run_layer(slicing(*ranges), np.zeros((2, 6), np.float32))


@pytest.mark.parametrize("pair", [(2, 2), (3, 2), (-1, 2)])
def test_empty_and_negative_ranges_are_refused(run_layer, pair):
    with pytest.raises(GraphJsonError, match="ranges"):
        run_layer(slicing(pair), np.zeros((2, 6), np.float32))


def test_ranges_beyond_the_width_are_refused(run_layer):
    with pytest.raises(ShapeError, match=r"\[4, 7\)"):
        run_layer(slicing((0, 4), (4, 7)), np.zeros((2, 6), np.float32))


@pytest.mark.parametrize("tops", [["out0"], ["out0", "out1", "out2"]])
def test_every_top_needs_its_range(run_layer, tops):
    with pytest.raises(GraphJsonError, match="2 ranges"):
        run_layer({**slicing((0, 3), (3, 6)), "top": tops}, np.zeros((2, 6), np.float32))


def test_inserted_copies_that_are_too_wide_are_whole_copies() -> None:
    """HugeCTR's static table got the width wrong; an inserted copy always meant the whole tensor (layers 1.3)."""
    tops = ("x_slice0", "x_slice1")
    layer = SliceLayer(ranges=((0, 9), (0, 9)), bottom_names=("x",), top_names=tops)
    graph = Graph("g")
    x = graph.input("x", f32(N, 4))
    assert [value.type for value in layer.build(x)] == [x.type, x.type]
    (caveat,) = layer.caveats(x.type)
    assert "[0, 9)" in caveat


def test_a_users_own_range_that_is_too_wide_is_refused() -> None:
    graph = Graph("g")
    x = graph.input("x", f32(N, 4))
    with pytest.raises(ShapeError, match=r"the range \[0, 9\) does not lie within the 4 of f32\[N, 4\]"):
        SliceLayer(ranges=((0, 9), (0, 9)), bottom_names=("x",), top_names=("a", "b")).build(x)
