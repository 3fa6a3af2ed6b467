"""Operations that compute the same, and small constants that hold the same, become one."""

from __future__ import annotations

import numpy as np
import pytest

from hugectr2onnx.ir.ops.elementwise import Add, Elu, Mul, Relu, Sigmoid, Sub
from hugectr2onnx.ir.ops.shape import Concat, Slice
from hugectr2onnx.ir.ops.structural import Const
from hugectr2onnx.passes.cleanup.merge_duplicates import MAX_COMPARED_BYTES, merge_duplicates


def constants(graph):
    return [node for node in graph if isinstance(node.op, Const)]


def test_twins_merge(graph, x, sound, body):
    graph.output({"y": graph.add(Relu(), x, name="relu1") + graph.add(Relu(), x, name="relu2")})
    assert sound(merge_duplicates, graph) == {"merge_duplicates": 1}
    assert body(graph) == "%relu1 = relu(%x) : f32[N, 4]\n%add = add(%relu1, %relu1) : f32[N, 4]\nreturn y=%add"


def test_whole_branches_merge_in_one_run(graph, x, sound, body):
    one, two = (Sigmoid()(Relu()(Slice(1, 0, 2)(x))) for _ in range(2))
    graph.output({"a": one, "b": two})
    assert sound(merge_duplicates, graph) == {"merge_duplicates": 3}
    assert body(graph).splitlines()[-1] == "return a=%sigmoid, b=%sigmoid"


@pytest.mark.parametrize("op", [Add(), Mul()], ids=str)
def test_operands_of_a_commutative_operation_may_change_places(graph, x, sound, op):
    y = Relu()(x)
    graph.output({"y": Concat(1)(op(x, y), op(y, x))})
    assert sound(merge_duplicates, graph) == {"merge_duplicates": 1}


def test_those_of_others_may_not(graph, x, sound):
    y = Relu()(x)
    graph.output({"y": Concat(1)(Sub()(x, y), Sub()(y, x), Concat(1)(x, y), Concat(1)(y, x))})
    assert sound(merge_duplicates, graph) == {}


def test_attributes_must_be_equal(graph, x, sound):
    graph.output({"y": Concat(1)(Elu(0.5)(x), Elu(0.25)(x), Slice(1, 0, 2)(x), Slice(1, 1, 3)(x))})
    assert sound(merge_duplicates, graph) == {}


def test_operands_must_be_the_same(graph, x, sound):
    graph.output({"y": Relu()(x) + Relu()(Sigmoid()(x))})
    assert sound(merge_duplicates, graph) == {}


def test_small_constants_merge_by_content(graph, x, sound):
    graph.output({"y": x * graph.const(np.float32([1, 2, 3, 4])) * graph.const(np.float32([1, 2, 3, 4]))})
    assert sound(merge_duplicates, graph) == {"merge_duplicates": 1}
    assert len(constants(graph)) == 1


@pytest.mark.parametrize(
    "one, two",
    [
        (np.float32([1, 2, 3, 4]), np.float32([1, 2, 3, 5])),
        (np.float32([1, 2, 3, 4]), np.float32([[1, 2, 3, 4]])),
        (np.float32([0.0]), np.float32([-0.0])),
    ],
    ids=["another number", "another shape", "the sign of a zero"],
)
def test_constants_that_differ_stay(graph, x, sound, one, two):
    graph.output({"y": x * graph.const(one), "z": x * graph.const(two)})
    assert sound(merge_duplicates, graph) == {}


def test_another_element_type_with_the_same_bytes_stays(graph, x, sound):
    number, bits = np.float32([1, 2]), np.float32([1, 2]).view(np.int64)
    graph.output({"x": x, "y": graph.const(number), "z": graph.const(bits)})
    assert sound(merge_duplicates, graph) == {}


def test_large_constants_are_not_compared(graph, x, sound):
    """Nothing hashes a table."""
    wide = np.zeros((4, MAX_COMPARED_BYTES // 16 + 1), np.float32)
    graph.output({"y": x @ graph.const(wide), "z": x @ graph.const(wide.copy())})
    assert sound(merge_duplicates, graph) == {}


def test_inputs_of_one_type_are_different_inputs(graph, x, sound):
    graph.output({"y": x + graph.input("other", x.type)})
    assert sound(merge_duplicates, graph) == {}


def test_the_layers_of_both_are_credited(graph, x):
    with graph.building("one"):
        first = Relu()(x)
    with graph.building("two"):
        second = Relu()(x)
    graph.output({"a": first, "b": second})
    merge_duplicates(graph)
    assert first.node.sources == ("one", "two")


def test_a_name_is_taken_over(graph, x):
    first = Relu()(x)
    graph.output({"a": first, "b": graph.add(Relu(), x, name="relu1")})
    merge_duplicates(graph)
    assert first.node.name == "relu1"
