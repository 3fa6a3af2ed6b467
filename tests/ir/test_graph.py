"""The graph: uses, replacing, erasing, pruning, cloning, order."""

from __future__ import annotations

import numpy as np
import pytest

from hugectr2onnx.errors import CompilerError, ShapeError
from hugectr2onnx.ir.graph import Graph, Use
from hugectr2onnx.ir.ops.elementwise import Relu, Sigmoid
from hugectr2onnx.ir.ops.shape import Concat
from hugectr2onnx.ir.ops.split import Split
from hugectr2onnx.ir.ops.structural import Const, Input, Outputs
from hugectr2onnx.ir.types import N, f32
from hugectr2onnx.ir.verifier import verify

TWO = f32(N, 2)


def test_calling_an_op_builds_it():
    graph = Graph()
    x = graph.input("x", TWO)
    y = Concat(1)(x, x)
    assert y.type == f32(N, 4)
    assert y.inputs == (x, x)
    assert y.graph is graph


def test_operators_build_operations_and_lift_numbers():
    graph = Graph()
    x = graph.input("x", TWO)
    y = 1 - x
    assert y.op.mnemonic == "sub"
    assert y.inputs[0].const == np.float32(1)
    assert y.inputs[0].const.dtype == np.float32
    assert [v.op.mnemonic for v in (x + 1, 1 + x, x - x, 2 * x, x / 2)] == ["add", "add", "sub", "mul", "div"]


def test_operands_that_do_not_fit_leave_nothing_behind():
    graph = Graph()
    x, y = graph.input("x", TWO), graph.input("y", f32(N, 3))
    with pytest.raises(ShapeError, match="do not broadcast"):
        x + y
    assert len(graph) == 0
    assert x.uses == ()


def test_x_plus_x_is_two_uses():
    graph = Graph()
    x = graph.input("x", TWO)
    both = x + x
    assert x.uses == (Use(both.node, 0), Use(both.node, 1))
    assert not x.has_one_use
    assert sorted(graph.edges(), key=lambda edge: edge[2]) == [(x.node, both.node, 0, 0), (x.node, both.node, 1, 0)]


def test_replacing_both_operands_of_x_plus_x():
    graph = Graph()
    x, y = graph.input("x", TWO), graph.input("y", TWO)
    both = x + x
    graph.output({"both": both})
    graph.replace(x, y)
    assert both.inputs == (y, y)
    assert x.uses == ()
    verify(graph)


def test_graph_outputs_are_ordinary_uses():
    graph = Graph()
    x = graph.input("x", TWO)
    a, b = Relu()(x), Sigmoid()(x)
    graph.output({"first": a, "second": a})
    assert [use.node for use in a.uses] == [graph.sink, graph.sink]
    assert not a.has_one_use
    graph.replace(a, b)
    assert graph.outputs == {"first": b, "second": b}


def test_replace_hands_on_the_name_hint_where_there_is_none():
    graph = Graph()
    x = graph.input("x", TWO)
    old = graph.add(Relu(), x, name="fc1")
    unnamed, named = Sigmoid()(x), graph.add(Sigmoid(), x, name="mine")
    graph.replace(old, unnamed)
    graph.replace(old, named)
    assert (unnamed.node.name, named.node.name) == ("fc1", "mine")


def test_a_node_in_use_cannot_be_erased():
    graph = Graph()
    x = graph.input("x", TWO)
    y = Relu()(x)
    graph.output({"y": y})
    with pytest.raises(CompilerError, match="still used"):
        graph.erase(y.node)


def test_the_interface_cannot_be_erased():
    graph = Graph()
    x, unused = graph.input("x", TWO), graph.input("unused", TWO)
    graph.output({"y": Relu()(x)})
    for node in (unused.node, graph.sink):
        with pytest.raises(CompilerError, match="interface"):
            graph.erase(node)


def test_erase_takes_the_node_away():
    graph = Graph()
    x = graph.input("x", TWO)
    y = Relu()(x)
    graph.erase(y.node)
    assert y.node not in graph
    assert x.uses == ()


def test_erase_dead_goes_up_to_what_others_use():
    graph = Graph()
    x = graph.input("x", TWO)
    shared = Relu()(x)
    graph.output({"y": shared})
    dead = Sigmoid()(shared + graph.const(np.float32([1, 2])))
    erased, survivors = graph.erase_dead(dead.node)
    assert [node.op.mnemonic for node in erased] == ["sigmoid", "add", "const"]
    assert survivors == [shared.node]


def test_prune_keeps_interface_inputs_and_counts_what_goes():
    graph = Graph()
    x, unused = graph.input("x", TWO), graph.input("unused", TWO)
    y = Relu()(x)
    graph.output({"y": y})
    Sigmoid()(unused) + graph.const(np.float32([1, 2]))
    assert graph.prune() == 3
    assert [node.op.mnemonic for node in graph] == ["input", "input", "relu", "output"]


def test_a_clone_has_nodes_of_its_own_and_shares_constants():
    graph = Graph("name")
    x = graph.input("x", TWO)
    weight = graph.const(np.float32([1, 2]), "w")
    graph.output({"y": Relu()(x * weight)})
    before = str(graph)
    copy = graph.clone()
    assert str(copy) == before
    assert not set(copy) & set(graph)
    assert next(node.op.array for node in copy if isinstance(node.op, Const)) is weight.const
    copy.replace(copy.outputs["y"], copy.inputs[0])
    copy.prune()
    assert str(graph) == before
    verify(copy)


def test_a_clone_keeps_the_layers_that_nodes_came_from():
    graph = Graph()
    x = graph.input("x", TWO)
    with graph.building("fc1", "relu1"):
        y = Relu()(x)
    graph.output({"y": y})
    assert graph.clone().outputs["y"].node.sources == ("fc1", "relu1")


def test_order_is_inputs_as_declared_then_operands_before_users_then_the_dead():
    graph = Graph()
    x, y = graph.input("x", TWO), graph.input("y", TWO)
    dead = graph.add(Relu(), x, name="dead")
    right = graph.add(Sigmoid(), x, name="right")
    left = graph.add(Relu(), y, name="left")
    graph.output({"z": left + right})
    assert [node.name or node.op.mnemonic for node in graph] == ["x", "y", "left", "right", "add", "output", "dead"]
    assert dead.node in graph


def test_a_chain_deeper_than_the_recursion_limit_can_be_walked():
    graph = Graph()
    y = graph.input("x", TWO)
    for _ in range(5000):
        y = Relu()(y)
    graph.output({"y": y})
    assert sum(1 for _ in graph) == 5002
    verify(graph.clone())


def test_len_counts_operations_only():
    graph = Graph()
    x = graph.input("x", TWO)
    graph.output({"y": Relu()(x + 1)})
    assert len(graph) == 2


def test_the_uses_of_one_result_are_found_without_those_of_the_others():
    """A Split of a cross network has hundreds of results; asking each who reads it must not walk what reads the others."""
    graph = Graph()
    pieces = Split(1, (1,) * 3000)(graph.input("x", f32(N, 3000))).node.results
    readers = [Relu()(piece) for piece in pieces]
    looked_at = []

    class Counting(dict):
        def __getitem__(self, key):
            looked_at.append(key)
            return super().__getitem__(key)

    successors = graph._nx._succ
    successors[pieces[0].node] = Counting(successors[pieces[0].node])
    assert all(piece.has_one_use for piece in pieces)
    assert [use for piece in pieces for use in piece.uses] == [Use(reader.node, 0) for reader in readers]
    assert not looked_at


def test_replacing_one_of_many_operands_touches_no_other(monkeypatch):
    """Thousands of columns side by side are replaced one by one; each time only that one is wired anew."""
    graph = Graph()
    columns = [graph.input(f"x{i}", f32(N, 1)) for i in range(3)]
    joined = Concat(1)(*columns)
    graph.output({"joined": joined})
    wired = []
    connect = graph._connect
    monkeypatch.setattr(graph, "_connect", lambda value, *place: (wired.append(value), connect(value, *place)))
    changed = Relu()(columns[0])
    wired.clear()
    graph.replace(columns[1], changed)
    assert wired == [changed]
    assert joined.inputs == (columns[0], changed, columns[2])


def test_outputs_are_set_once():
    graph = Graph()
    x = graph.input("x", TWO)
    with pytest.raises(CompilerError, match="no outputs yet"):
        graph.sink  # noqa: B018
    graph.output({"x": x})
    with pytest.raises(CompilerError, match="already"):
        graph.output({"x": x})


def test_building_is_put_back_after_an_error():
    graph = Graph()
    x = graph.input("x", TWO)
    with pytest.raises(ZeroDivisionError), graph.building("fc1"):
        raise ZeroDivisionError
    assert Relu()(x).node.sources == ()


def test_values_are_equal_by_node_and_index():
    graph = Graph()
    x, y = graph.input("x", TWO), graph.input("y", TWO)
    assert x == x.node.results[0]
    assert hash(x) == hash(x.node.results[0])
    assert x != y
    assert x != "x"


def test_ops_are_equal_by_value():
    assert Concat(1) == Concat(1) != Concat(2)
    assert hash(Concat(1)) == hash(Concat(1))
    assert (Input(TWO), Outputs(("y",))) == (Input(TWO), Outputs(("y",)))


def test_constants_are_equal_by_identity():
    one, two = Const(np.float32([1])), Const(np.float32([2]))
    assert len({one, one}) == 1
    assert one != two
    assert len({one, two}) == 2


def test_a_value_of_another_graph_is_refused():
    one, other = Graph(), Graph()
    x, foreign = one.input("x", TWO), other.const(np.float32([1, 2]))
    with pytest.raises(CompilerError, match=r"add was given values of another graph"):
        x + foreign
