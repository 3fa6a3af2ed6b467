"""One test for each invariant, by breaking a sound graph on purpose."""

from __future__ import annotations

import numpy as np
import pytest

from hugectr2onnx.errors import CompilerError, VerificationError
from hugectr2onnx.ir.graph import Graph, Node, Value
from hugectr2onnx.ir.ops.elementwise import Relu, Sigmoid
from hugectr2onnx.ir.ops.structural import Const, Input, Outputs
from hugectr2onnx.ir.types import N, f32
from hugectr2onnx.ir.verifier import verify

TWO = f32(N, 2)


@pytest.fixture
def graph() -> Graph:
    """sigmoid(relu(x) * w)"""
    graph = Graph()
    x = graph.input("x", TWO)
    scaled = Relu()(x) * graph.const(np.float32([1, 2]), "w")
    graph.output({"y": Sigmoid()(scaled)})
    return graph


def node(graph: Graph, mnemonic: str) -> Node:
    return next(each for each in graph if each.op.mnemonic == mnemonic)


def test_a_sound_graph_passes(graph):
    verify(graph)


def test_a_cycle(graph):
    relu, mul = node(graph, "relu"), node(graph, "mul")
    graph._set_operands(relu, [Value(mul)])
    with pytest.raises(VerificationError, match=r"a cycle: .*(<relu >.*<mul >|<mul >.*<relu >)"):
        verify(graph)


def test_operands_without_edges(graph):
    node(graph, "relu").inputs = ()
    with pytest.raises(VerificationError, match="edges of the graph disagree"):
        verify(graph)


def test_operands_in_another_order_than_the_edges(graph):
    mul = node(graph, "mul")
    mul.inputs = mul.inputs[::-1]
    with pytest.raises(VerificationError, match="edges of the graph disagree"):
        verify(graph)


def test_an_operand_that_was_removed(graph):
    graph._nx.remove_node(node(graph, "relu"))
    with pytest.raises(VerificationError, match=r"the edges of the graph disagree with the operands of its nodes"):
        verify(graph)


def test_uses_that_the_edges_do_not_know(graph):
    """A rule would take the relu for one with a single reader."""
    node(graph, "relu").uses[0].clear()
    with pytest.raises(VerificationError, match="edges of the graph disagree with the uses"):
        verify(graph)


def test_an_output_index_that_does_not_exist(graph):
    node(graph, "relu").types = ()
    with pytest.raises(VerificationError, match="not of this graph"):
        verify(graph)


def test_a_stored_type_that_is_wrong(graph):
    node(graph, "relu").types = (f32(N, 3),)
    with pytest.raises(VerificationError, match=r"relu .*says f32\[N, 3\] but is f32\[N, 2\]"):
        verify(graph)


def test_operands_that_do_not_fit(graph):
    w = node(graph, "const")
    w.op, w.types = Const(np.zeros(3, np.float32)), (f32(3),)
    with pytest.raises(VerificationError, match=r"mul .*does not fit its operands"):
        verify(graph)


def test_a_constant_of_another_type_than_its_array(graph):
    node(graph, "const").types = (f32(1),)
    with pytest.raises(VerificationError, match=r"the constant <const w> says f32\[1\] but is f32\[2\]"):
        verify(graph)


def test_two_outputs(graph):
    graph.add(Outputs(("z",)), graph.outputs["y"])
    with pytest.raises(VerificationError, match="2 output sinks"):
        verify(graph)


def test_no_output():
    graph = Graph()
    graph.input("x", TWO)
    with pytest.raises(CompilerError, match="no outputs"):
        verify(graph)


def test_an_input_that_the_interface_does_not_declare(graph):
    graph.add(Input(TWO), name="stray")
    with pytest.raises(VerificationError, match="not those of the interface"):
        verify(graph)


def test_input_names_that_clash(graph):
    graph.input("x", TWO)
    with pytest.raises(VerificationError, match=r"input names .*\['x'\]"):
        verify(graph)


def test_an_input_without_a_name(graph):
    graph.input("", TWO)
    with pytest.raises(VerificationError, match="input names"):
        verify(graph)


def test_output_names_that_clash(graph):
    sink = graph.sink
    sink.op = Outputs(("y", "y"))
    graph._set_operands(sink, [sink.inputs[0], sink.inputs[0]])
    with pytest.raises(VerificationError, match=r"output names .*\['y'\]"):
        verify(graph)


def test_an_operand_of_another_graph(graph):
    foreign = Graph().const(np.float32([3, 4]))
    mul = node(graph, "mul")
    graph._set_operands(mul, [mul.inputs[0], foreign])
    with pytest.raises(VerificationError, match="not of this graph"):
        verify(graph)
