"""IR text, exactly."""

from __future__ import annotations

import numpy as np

from hugectr2onnx.ir.graph import Graph
from hugectr2onnx.ir.ops.elementwise import Elu, Relu, Sigmoid
from hugectr2onnx.ir.ops.gru import Gru
from hugectr2onnx.ir.ops.linear import Linear
from hugectr2onnx.ir.ops.shape import Reshape, Take
from hugectr2onnx.ir.printer import Names, print_attributes, print_node
from hugectr2onnx.ir.types import N, f32, scale


def test_a_whole_graph():
    graph = Graph("wdl")
    x = graph.input("dense", f32(N, 13))
    weight, bias = (
        graph.const(np.zeros((13, 4), np.float32), "fc1.weight"),
        graph.const(np.zeros(4, np.float32), "fc1.bias"),
    )
    fc1 = graph.add(Linear(Relu()), x, weight, bias, name="fc1")
    graph.output({"label": Sigmoid()(fc1), "hidden": fc1})
    assert str(graph) == (
        "graph @wdl {\n"
        "  %dense = input() : f32[N, 13]\n"
        "  %fc1 = linear(%dense, %fc1.weight, %fc1.bias) {activation=relu} : f32[N, 4]\n"
        "  %sigmoid = sigmoid(%fc1) : f32[N, 4]\n"
        "  return label=%sigmoid, hidden=%fc1\n"
        "}"
    )


def test_clashing_hints_get_numbers():
    graph = Graph()
    x = graph.input("x", f32(N, 2))
    one, two = graph.add(Relu(), x, name="x"), Relu()(x)
    graph.output({"a": one, "b": two, "c": Relu()(two)})
    assert str(graph) == (
        "graph @graph {\n"
        "  %x = input() : f32[N, 2]\n"
        "  %x_2 = relu(%x) : f32[N, 2]\n"
        "  %relu = relu(%x) : f32[N, 2]\n"
        "  %relu_2 = relu(%relu) : f32[N, 2]\n"
        "  return a=%x_2, b=%relu, c=%relu_2\n"
        "}"
    )


def test_attributes_are_spelled_unless_they_are_defaults():
    assert print_attributes(Relu()) == ""
    assert print_attributes(Elu()) == ""
    assert print_attributes(Elu(0.3)) == " {alpha=0.3}"
    assert print_attributes(Linear(Elu(0.3))) == " {activation=elu {alpha=0.3}}"
    assert print_attributes(Take(1, (0, 2))) == " {axis=1, indices=[0, 2]}"
    assert print_attributes(Reshape((scale(N, 26), 4))) == " {shape=[26N, 4]}"


def test_a_table_is_never_printed():
    graph = Graph()
    table = graph.const(np.zeros((1000, 4), np.float32), "emb.vectors")
    assert print_node(table.node) == "%emb.vectors = const() : f32[1000, 4]"
    assert print_attributes(table.op) == ""


def test_one_names_object_keeps_names_apart_across_nodes():
    graph = Graph()
    x = graph.input("x", f32(N, 2))
    names = Names()
    lines = [print_node(value.node, names) for value in (Relu()(x), Relu()(x))]
    assert lines == ["%relu = relu(%x) : f32[N, 2]", "%relu_2 = relu(%x) : f32[N, 2]"]


def test_values_print_for_messages():
    graph = Graph()
    x = graph.input("x", f32(N, 2))
    assert repr(x) == "%x: f32[N, 2]"
    assert repr(Relu()(x)) == "%relu: f32[N, 2]"
    assert repr(x.node) == "<input x>"


def test_a_mnemonic_is_the_name_in_lower_case():
    assert (Relu().mnemonic, Gru().mnemonic, Linear().mnemonic) == ("relu", "gru", "linear")
