"""sink_reshapes: element by element on matrices, the other shape afterwards."""

from __future__ import annotations

import pytest

from hugectr2onnx.ir.graph import Graph
from hugectr2onnx.ir.ops.elementwise import Add, Mul, Sub
from hugectr2onnx.ir.ops.shape import Reshape
from hugectr2onnx.ir.types import Batch, N, f32
from hugectr2onnx.passes.sink_reshapes import sink_reshapes

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
