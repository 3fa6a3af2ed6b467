"""Patterns match, bind and decline."""

from __future__ import annotations

import numpy as np
import pytest

from hugectr2onnx.ir.graph import Graph
from hugectr2onnx.ir.ops.elementwise import Add, Elu, Mul, Relu, Sigmoid, Unary
from hugectr2onnx.ir.types import N, f32
from hugectr2onnx.passes.pattern import P, Var

A, B, C = Var("a"), Var("b"), Var("c", const=True)


def matches(pattern, value):
    return list(pattern.match(value, {}, root=True))


@pytest.fixture
def x():
    return Graph().input("x", f32(N, 2))


def test_a_hole_binds_its_value(x):
    assert matches(P(Relu, A), Relu()(x)) == [{"a": x}]


def test_another_operation_does_not_match(x):
    assert matches(P(Relu, A), Sigmoid()(x)) == []


def test_an_op_must_be_equal_and_a_class_may_be_a_base(x):
    assert matches(P(Elu(0.5), A), Elu(0.5)(x))
    assert not matches(P(Elu(0.5), A), Elu(0.6)(x))
    assert matches(P(Unary, A), Sigmoid()(x))


def test_operators_build_patterns(x):
    y = x * x
    assert matches(A * B, y) == [{"a": x, "b": x}]


def test_a_const_hole_takes_constants_only(x):
    const = x.graph.const(np.float32([1, 2]))
    assert matches(P(Add, A, C), Add()(x, const)) == [{"a": x, "c": const}]
    assert matches(P(Add, A, C), Add()(x, x)) == []


def test_commutative_operations_try_both_orders(x):
    const = x.graph.const(np.float32([1, 2]))
    assert matches(P(Add, A, C), Add()(const, x)) == [{"a": x, "c": const}]


def test_others_try_one_order(x):
    const = x.graph.const(np.float32([1, 2]))
    assert matches(A - C, const - x) == []
    assert len(matches(A - C, x - const)) == 1


def test_both_orders_are_offered_where_both_match(x):
    y = Relu()(x)
    assert matches(P(Mul, A, B), Mul()(x, y)) == [{"a": x, "b": y}, {"a": y, "b": x}]


def test_commutativity_inside_a_pattern(x):
    const = x.graph.const(np.float32([1, 2]))
    assert len(matches(P(Relu, P(Add, A, C)), Relu()(Add()(const, x)))) == 1


def test_the_same_hole_twice_must_be_the_same_value(x):
    y = Relu()(x)
    assert matches(P(Add, A, A), Add()(x, x)) == [{"a": x}]
    assert matches(P(Add, A, A), Add()(x, y)) == []


def test_the_same_hole_across_levels_backtracks_over_orders(x):
    y = Sigmoid()(x)
    assert matches(P(Add, A, P(Relu, A)), Add()(Relu()(y), y)) == [{"a": y}]


def test_an_operation_inside_must_have_one_user(x):
    inner = Relu()(x)
    outer = Sigmoid()(inner)
    assert matches(P(Sigmoid, P(Relu, A)), outer)
    Sigmoid()(inner)
    assert not matches(P(Sigmoid, P(Relu, A)), outer)
    assert matches(P(Sigmoid, P(Relu, A, shared=True)), outer)


def test_the_root_may_have_many_users(x):
    y = Relu()(x)
    Sigmoid()(y), Sigmoid()(y)
    assert matches(P(Relu, A), y)


def test_an_interface_output_is_a_user(x):
    inner = Relu()(x)
    outer = Sigmoid()(inner)
    x.graph.output({"inner": inner, "outer": outer})
    assert not matches(P(Sigmoid, P(Relu, A)), outer)


def test_a_name_binds_the_operation_itself(x):
    inner = Relu()(x)
    assert matches(P(Sigmoid, P(Relu, A, name="inner")), Sigmoid()(inner)) == [{"a": x, "inner": inner}]


def test_without_operands_anything_goes_below(x):
    y = Add()(x, Relu()(x))
    assert matches(P(Add, name="sum"), y) == [{"sum": y}]
    assert matches(P(Add), y) == [{}]


def test_the_number_of_operands_must_agree(x):
    assert matches(P(Add, A), Add()(x, x)) == []


@pytest.mark.parametrize(
    "array, matched", [(np.float32(2), True), (np.float32([[2]]), True), (np.float32([2, 2]), False)]
)
def test_numbers_match_constants_of_one_element(x, array, matched):
    assert bool(matches(A * 2, x * x.graph.const(array))) is matched
    assert not matches(A * 3, x * x.graph.const(array))


def test_depth_counts_operations():
    assert P(Relu, A).depth == 1
    assert P(Add, A, P(Relu, P(Sigmoid, B))).depth == 3


def test_numbers_stand_on_either_side():
    x = Graph().input("x", f32(N, 2))
    two = x.graph.const(np.float32(2))
    for pattern, value in ((2 * A, two * x), (2 + A, two + x), (2 - A, two - x)):
        assert {"a": x} in matches(pattern, value)
    assert not matches(2 - A, x - two)


def test_calling_an_op_builds_a_pattern(x):
    assert matches(Elu(0.5)(A), Elu(0.5)(x)) == [{"a": x}]


def test_names_are_those_that_a_match_binds():
    assert P(Relu, A + P(Sigmoid, name="inner"), name="outer").names == {"a", "inner", "outer"}
