"""Data movement composed."""

from __future__ import annotations

import numpy as np
import pytest

from hugectr2onnx.ir.evaluator import evaluate
from hugectr2onnx.ir.graph import Graph
from hugectr2onnx.ir.ops.elementwise import Mul, Relu
from hugectr2onnx.ir.ops.reduce import ReduceMean, ReduceSum
from hugectr2onnx.ir.ops.shape import Concat, Reshape, Slice, Transpose
from hugectr2onnx.ir.types import N, f32, scale
from hugectr2onnx.passes.cleanup.canonicalize_data_movement import canonicalize_data_movement

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


@pytest.mark.parametrize("case", REWRITES)
def test_composes(case, graph, apply_pass):
    shapes, build, expected = REWRITES[case]
    graph.output({"y": build(*inputs(graph, *shapes))})
    assert apply_pass(graph, canonicalize_data_movement).splitlines()[len(shapes) :] == expected


@pytest.mark.parametrize(
    "shapes, build",
    [
        ([(N, 2), (N, 3)], lambda a, b: Slice(1, 1, 4)(Concat(1)(a, b))),
        ([(N, 2, 3), (N, 2, 3)], lambda a, b: Slice(2, 0, 1)(Concat(1)(a, b))),
        ([(N, 6)], lambda a: Concat(1)(Slice(1, 2, 5)(a), Slice(1, 0, 2)(a))),
        ([(N, 6), (N, 6)], lambda a, b: Concat(1)(Slice(1, 0, 2)(a), Slice(1, 2, 5)(b))),
        ([(N, 2, 3), (N, 2, 3), (N, 4, 3)], lambda a, b, c: Concat(2)(Concat(1)(a, b), c)),
        ([(N, 2, 3)], lambda a: ReduceSum(1)(a)),
        ([(N, 6), (N, 2, 3)], lambda a, b: Reshape((N, 6))(Reshape((N, 2, 3))(a) * b)),
        ([(N, 6), (N, 3)], lambda a, b: Reshape((N, 6))(Reshape((N, 2, 3))(a) * Reshape((N, 1, 3))(b))),
        ([(N, 10)], lambda a: Reshape((N, 6))(Slice(1, 0, 3)(Reshape((TWICE, 5))(a)))),
    ],
    ids=[
        "slice across operands",
        "slice of another axis",
        "neighbours in the wrong order",
        "slices of two values",
        "concats of two axes",
        "sum of two",
        "one reshaped operand",
        "broadcast",
        "reshape of the last axis",
    ],
)
def test_declines(shapes, build, graph):
    graph.output({"y": build(*inputs(graph, *shapes))})
    assert not canonicalize_data_movement(graph)


def test_a_concat_with_another_reader_is_not_merged_into_the_next(graph):
    a, b, c = inputs(graph, (N, 1), (N, 2), (N, 3))
    inner = Concat(1)(a, b)
    graph.output({"y": Concat(1)(inner, c), "inner": inner})
    assert not canonicalize_data_movement(graph)


def test_numbers_are_left_as_they_are():
    """Level 1 could run these passes too: nothing is rounded."""
    graph = Graph()
    (x,) = inputs(graph, (N, 4))
    graph.output({"y": Slice(1, 0, 2)(Concat(1)(x, x))})
    canonicalize_data_movement(graph)
    array = np.array([[1e-45, 3e38, -0.0, np.inf]], np.float32)
    assert np.array_equal(evaluate(graph, {"x0": array}, precision=np.float32)["y"], array[:, :2])
