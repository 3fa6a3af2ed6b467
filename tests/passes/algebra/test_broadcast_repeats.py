"""broadcast_repeats: HugeCTR's Scale, without the copies where that is faster."""

from __future__ import annotations

import numpy as np
import pytest

from hugectr2onnx.ir.graph import Graph
from hugectr2onnx.ir.ops.elementwise import Add, Mul, Sub
from hugectr2onnx.ir.ops.linear import Linear
from hugectr2onnx.ir.ops.shape import Repeat, Slice
from hugectr2onnx.ir.types import Batch, N, f32
from hugectr2onnx.passes.algebra.broadcast_repeats import broadcast_repeats


def met(op, axis, width, factor, *, left=True) -> Graph:
    graph = Graph("g")
    repeated = Repeat(axis, factor)(graph.input("x", f32(N, width)))
    y = graph.input("y", repeated.type)
    graph.output({"z": op(repeated, y) if left else op(y, repeated)})
    return graph


def test_a_gate_broadcasts_over_its_expert(prove, lines):
    graph = met(Mul(), 1, 1, 16)
    assert lines(graph)[0] == "%repeat = repeat(%x) {axis=1, factor=16} : f32[N, 16]"
    assert prove(graph, broadcast_repeats) == {"broadcast_mul": 1}
    assert lines(graph) == ["%mul = mul(%x, %y) : f32[N, 16]"]


def test_several_numbers_broadcast_over_their_own_columns(prove, lines):
    graph = met(Mul(), 1, 3, 8)
    prove(graph, broadcast_repeats)
    assert lines(graph) == [
        "%reshape = reshape(%x) {shape=[N, 3, 1]} : f32[N, 3, 1]",
        "%reshape_2 = reshape(%y) {shape=[N, 3, 8]} : f32[N, 3, 8]",
        "%mul = mul(%reshape, %reshape_2) : f32[N, 3, 8]",
        "%reshape_3 = reshape(%mul) {shape=[N, 24]} : f32[N, 24]",
    ]


def test_rows_of_one_number_broadcast(prove, lines):
    graph = met(Add(), 0, 1, 10)
    prove(graph, broadcast_repeats)
    assert lines(graph)[2] == "%add = add(%reshape, %reshape_2) : f32[N, 10, 1]"


@pytest.mark.parametrize("axis, width, factor", [(1, 1, 16), (1, 3, 8), (0, 1, 10)])
@pytest.mark.parametrize("op", [Add(), Mul(), Sub()])
@pytest.mark.parametrize("left", [True, False])
def test_every_operation_on_either_side(prove, op, axis, width, factor, left):
    assert sum(prove(met(op, axis, width, factor, left=left), broadcast_repeats).values()) == 1


@pytest.mark.parametrize(
    "graph",
    [met(Mul(), 0, 4, 10), met(Mul(), 1, 4, 2)],
    ids=["whole rows, which copies are faster for", "runs that are too short"],
)
def test_declines(graph):
    text = str(graph)
    assert not broadcast_repeats(graph)
    assert str(graph) == text


def test_a_linear_comes_before_the_repetition(prove, lines):
    graph = Graph("g")
    x = graph.input("x", f32(N, 2))
    w, b = graph.const(np.ones((2, 3), np.float32), "w"), graph.const(np.ones(3, np.float32), "b")
    graph.output({"y": Linear()(Repeat(0, 5)(x), w, b)})
    assert prove(graph, broadcast_repeats) == {"sink_below_linear": 1}
    assert lines(graph) == [
        "%linear = linear(%x, %w, %b) : f32[N, 3]",
        "%repeat = repeat(%linear) {axis=0, factor=5} : f32[5N, 3]",
    ]


def test_a_linear_over_repeated_columns_stays():
    graph = Graph("g")
    x = graph.input("x", f32(N, 2))
    w, b = graph.const(np.ones((4, 3), np.float32)), graph.const(np.ones(3, np.float32))
    graph.output({"y": Linear()(Repeat(1, 2)(x), w, b)})
    assert not broadcast_repeats(graph)


@pytest.mark.parametrize("op", [Add(), Mul(), Sub()])
def test_what_is_repeated_alike_is_computed_once(prove, lines, op):
    graph = Graph("g")
    a, b = (Repeat(0, 3)(graph.input(name, f32(N, 4))) for name in "ab")
    graph.output({"y": op(a, b)})
    assert sum(prove(graph, broadcast_repeats).values()) == 1
    assert lines(graph)[-1] == f"%repeat = repeat(%{op.mnemonic}) {{axis=0, factor=3}} : f32[3N, 4]"


def test_differently_repeated_values_stay():
    graph = Graph("g")
    a = Repeat(0, 3)(graph.input("a", f32(N, 4)))
    b = Repeat(1, 2)(graph.input("b", f32(Batch(N.factor * 3), 2)))
    graph.output({"y": a * b})
    assert not broadcast_repeats(graph)


def test_columns_are_cut_before_rows_are_repeated(prove, lines):
    graph = Graph("g")
    graph.output({"y": Slice(1, 1, 3)(Repeat(0, 4)(graph.input("x", f32(N, 5))))})
    assert prove(graph, broadcast_repeats) == {"sink_below_slice": 1}
    assert lines(graph)[-1] == "%repeat = repeat(%slice) {axis=0, factor=4} : f32[4N, 2]"
