"""sink_reshapes: element by element on matrices, the other shape afterwards."""

from __future__ import annotations

import pytest

from hugectr2onnx.ir.graph import Graph
from hugectr2onnx.ir.ops.elementwise import Add, Mul, Sub
from hugectr2onnx.ir.ops.reduce import ReduceMean, Softmax
from hugectr2onnx.ir.ops.shape import Reshape
from hugectr2onnx.ir.types import Batch, N, f32
from hugectr2onnx.passes.algebra.sink_reshapes import sink_reshapes

ROWS = Batch(N.factor * 5)


def summed(op, a, b, shape) -> Graph:
    graph = Graph("g")
    graph.output({"y": op(*(Reshape(shape)(graph.input(name, x)) for name, x in (("a", a), ("b", b))))})
    return graph


@pytest.mark.parametrize("op", [Add(), Sub(), Mul()])
@pytest.mark.parametrize("matrix", ["left", "right"])
def test_the_operation_moves_to_the_matrix(prove, lines, op, matrix):
    types = f32(ROWS, 4), f32(N, 5, 2, 2)
    graph = summed(op, *(types if matrix == "left" else types[::-1]), (N, 5, 4))
    assert sum(prove(graph, sink_reshapes).values()) == 1
    *_, operation, last = lines(graph)
    assert operation.startswith(f"%{op.mnemonic} = {op.mnemonic}(") and operation.endswith(": f32[5N, 4]")
    assert last == f"%reshape_3 = reshape(%{op.mnemonic}) {{shape=[N, 5, 4]}} : f32[N, 5, 4]"


@pytest.mark.parametrize(
    "graph",
    [
        summed(Add(), f32(N, 20), f32(N, 20), (N, 5, 4)),
        summed(Add(), f32(N, 5, 4), f32(N, 5, 4), (ROWS, 4)),
        summed(Add(), f32(N, 2, 10), f32(N, 10, 2), (N, 5, 4)),
    ],
    ids=["rows of another length", "a matrix outside already", "no matrix inside"],
)
def test_declines(graph):
    text = str(graph)
    assert not sink_reshapes(graph)
    assert str(graph) == text


def test_an_operand_that_broadcasts_keeps_its_shape():
    graph = Graph("g")
    a, b = graph.input("a", f32(ROWS, 4)), graph.input("b", f32(N, 4))
    graph.output({"y": Reshape((N, 5, 4))(a) + Reshape((N, 1, 4))(b)})
    assert not sink_reshapes(graph)


def weighed(shape=(N, 5), *, again: bool = True) -> Graph:
    graph = Graph("g")
    weights = Softmax()(Reshape(shape)(graph.input("x", f32(N, 1, 5))))
    graph.output({"y": Reshape((N, 5, 1))(weights) if again else weights})
    return graph


def test_a_softmax_comes_before_the_reshape_if_another_follows(prove, lines):
    graph = weighed()
    assert prove(graph, sink_reshapes) == {"sink_below_softmax": 1}
    assert lines(graph) == [
        "%softmax = softmax(%x) : f32[N, 1, 5]",
        "%reshape = reshape(%softmax) {shape=[N, 5]} : f32[N, 5]",
        "%reshape_2 = reshape(%reshape) {shape=[N, 5, 1]} : f32[N, 5, 1]",
    ]


@pytest.mark.parametrize("graph", [weighed((N, 5, 1)), weighed(again=False)], ids=["other groups", "no other reshape"])
def test_a_softmax_that_stays(graph):
    text = str(graph)
    assert not sink_reshapes(graph)
    assert str(graph) == text


def averaged(axis: int, shape) -> Graph:
    graph = Graph("g")
    graph.output({"y": Reshape(shape)(ReduceMean(axis)(graph.input("x", f32(N, 5, 4))))})
    return graph


def test_a_mean_drops_its_axis_itself(prove, lines):
    graph = averaged(1, (N, 4))
    assert prove(graph, sink_reshapes) == {"drop_averaged_axis": 1}
    assert lines(graph) == ["%reduce_mean = reduce_mean(%x) {axis=1, keepdims=False} : f32[N, 4]"]


def test_a_mean_under_another_shape_stays():
    assert not sink_reshapes(averaged(1, (N, 2, 2)))
