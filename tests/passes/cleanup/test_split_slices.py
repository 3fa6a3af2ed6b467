"""Slices that cover an axis become one Split."""

from __future__ import annotations

import pytest

from hugectr2onnx.ir.graph import Graph
from hugectr2onnx.ir.ops.elementwise import Mul, Relu
from hugectr2onnx.ir.ops.reduce import ReduceMean, ReduceSum
from hugectr2onnx.ir.ops.shape import Concat, Reshape, Slice, Transpose
from hugectr2onnx.ir.types import N, f32, scale
from hugectr2onnx.passes.cleanup.split_slices import split_slices

TWICE = scale(N, 2)


@pytest.fixture
def graph():
    return Graph("g")


def inputs(graph, *shapes):
    return [graph.input(f"x{i}", f32(*shape)) for i, shape in enumerate(shapes)]


REWRITES = {
    "slice of a whole operand": (
        [(N, 2), (N, 3)],
        lambda a, b: Slice(1, 2, 5)(Concat(1)(a, b)),
        ["return y=%x1"],
    ),
    "slice within an operand": (
        [(N, 2), (N, 3)],
        lambda a, b: Slice(1, 3, 4)(Concat(1)(a, b)),
        ["%slice = slice(%x1) {axis=1, start=1, end=2} : f32[N, 1]", "return y=%slice"],
    ),
    "neighbours": (
        [(N, 6), (N, 1)],
        lambda a, b: Concat(1)(Slice(1, 1, 2)(a), Slice(1, 2, 5)(a), b),
        [
            "%slice = slice(%x0) {axis=1, start=1, end=5} : f32[N, 4]",
            "%concat = concat(%slice, %x1) {axis=1} : f32[N, 5]",
            "return y=%concat",
        ],
    ),
    "neighbours that are the whole": (
        [(N, 6)],
        lambda a: Concat(1)(Slice(1, 0, 2)(a), Slice(1, 2, 5)(a), Slice(1, 5, 6)(a)),
        ["return y=%x0"],
    ),
    "nested concats": (
        [(N, 1), (N, 2), (N, 3)],
        lambda a, b, c: Concat(1)(a, Concat(1)(b, c)),
        ["%concat = concat(%x0, %x1, %x2) {axis=1} : f32[N, 6]", "return y=%concat"],
    ),
    "two transposes": (
        [(N, 2, 3)],
        lambda a: Transpose((1, 0, 2))(Transpose((0, 2, 1))(a)),
        ["%transpose = transpose(%x0) {perm=[2, 0, 1]} : f32[3, N, 2]", "return y=%transpose"],
    ),
    "two transposes that undo one another": (
        [(N, 2, 3)],
        lambda a: Transpose((0, 2, 1))(Transpose((0, 2, 1))(a)),
        ["return y=%x0"],
    ),
    "sum of one": (
        [(N, 1, 3)],
        lambda a: ReduceSum(1, keepdims=False)(a),
        ["%reshape = reshape(%x0) {shape=[N, 3]} : f32[N, 3]", "return y=%reshape"],
    ),
    "mean of one": (
        [(N, 1, 3)],
        lambda a: ReduceMean(1)(a),
        ["%reshape = reshape(%x0) {shape=[N, 1, 3]} : f32[N, 1, 3]", "return y=%reshape"],
    ),
    "reshape there and back": (
        [(N, 6)],
        lambda a: Reshape((N, 6))(Relu()(Reshape((N, 2, 3))(a))),
        ["%relu = relu(%x0) : f32[N, 6]", "return y=%relu"],
    ),
    "reshape there and on": (
        [(N, 6), (N, 6)],
        lambda a, b: Reshape((N, 3, 2))(Mul()(Reshape((N, 2, 3))(a), Reshape((N, 2, 3))(b))),
        [
            "%mul = mul(%x0, %x1) : f32[N, 6]",
            "%reshape = reshape(%mul) {shape=[N, 3, 2]} : f32[N, 3, 2]",
            "return y=%reshape",
        ],
    ),
    "slice between reshapes": (
        [(N, 2, 5)],
        lambda a: Reshape((N, 6))(Slice(1, 0, 3)(Reshape((TWICE, 5))(a))),
        [
            "%slice = slice(%x0) {axis=2, start=0, end=3} : f32[N, 2, 3]",
            "%reshape = reshape(%slice) {shape=[N, 6]} : f32[N, 6]",
            "return y=%reshape",
        ],
    ),
}


def test_slices_that_are_all_of_a_value_become_one_split(graph, apply_pass):
    (x,) = inputs(graph, (N, 5))
    graph.output({"a": Slice(1, 3, 5)(x), "b": Slice(1, 0, 3)(x), "x": Relu()(x)})
    assert apply_pass(graph, split_slices) == (
        "%x0 = input() : f32[N, 5]\n"
        "%split, %split_2 = split(%x0) {axis=1, sizes=[3, 2]} : f32[N, 3], f32[N, 2]\n"
        "%relu = relu(%x0) : f32[N, 5]\n"
        "return a=%split_2, b=%split, x=%relu"
    )


def test_slices_of_slices_become_splits(graph, apply_pass):
    (x,) = inputs(graph, (N, 5))
    first = Slice(1, 0, 3)(x)
    graph.output({"a": Slice(1, 0, 1)(first), "b": Slice(1, 1, 3)(first), "c": Slice(1, 3, 5)(x)})
    assert "slice" not in apply_pass(graph, split_slices)


@pytest.mark.parametrize(
    "cuts",
    [
        [Slice(1, 0, 3)],
        [Slice(1, 0, 3), Slice(1, 3, 4)],
        [Slice(1, 0, 3), Slice(1, 2, 5)],
        [Slice(1, 1, 3), Slice(1, 3, 5)],
        [Slice(1, 0, 3), Slice(1, 3, 5), Slice(2, 0, 1)],
    ],
    ids=["one", "the end is missing", "overlap", "the start is missing", "two axes"],
)
def test_declines_to_split(cuts, graph):
    (x,) = inputs(graph, (N, 5, 2))
    graph.output({f"y{i}": cut(x) for i, cut in enumerate(cuts)})
    assert not split_slices(graph)
