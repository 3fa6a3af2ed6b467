"""The driver of the rules: what it matches, what it leaves behind, when it gives up."""

from __future__ import annotations

import numpy as np
import pytest

from hugectr2onnx.errors import PassError
from hugectr2onnx.ir.graph import Graph
from hugectr2onnx.ir.ops.elementwise import Add, Div, Elu, Mul, Relu, Sigmoid, Sqrt, Unary
from hugectr2onnx.ir.ops.shape import Slice
from hugectr2onnx.ir.ops.structural import Const, Identity
from hugectr2onnx.ir.types import N, f32
from hugectr2onnx.ir.verifier import verify
from hugectr2onnx.passes.pattern import P, Var
from hugectr2onnx.passes.rewriter import apply, rule

A, B, C = Var("a"), Var("b"), Var("c", const=True)


@rule(P(Identity, A))
def drop(a):
    return a


@rule(P(Add, A, A))
def double(a):
    return a * 2


@rule(P(Relu, P(Sigmoid, A)))
def positive(a):
    return Sigmoid()(a)


@rule(P(Mul, A, C))
def unscale(a, c):
    return a / 2 if c.const.size == 1 else None


def test_a_rule_takes_what_the_pattern_binds(graph, x, body):
    graph.output({"y": x + x})
    assert apply(graph, [double]) == {"double": 1}
    assert body(graph) == "%mul = mul(%x, %const) : f32[N, 4]\nreturn y=%mul"


def test_the_same_hole_twice_declines_for_different_values(graph, x):
    graph.output({"y": x + Sqrt()(x)})
    assert apply(graph, [double]) == {}


@pytest.mark.parametrize("swapped", [False, True])
def test_commutative_roots_try_both_orders(graph, x, swapped):
    const = graph.const(np.float32(2))
    graph.output({"y": Mul()(const, x) if swapped else Mul()(x, const)})
    assert apply(graph, [unscale]) == {"unscale": 1}
    assert isinstance(graph.outputs["y"].op, Div)


def test_a_declining_rule_gets_the_other_order_too(graph, x):
    """`a` may be either operand; only one of them suits."""

    @rule(P(Add, A, B))
    def keep_the_relu(a, b):
        return Relu()(b) if isinstance(a.op, Sqrt) else None

    graph.output({"y": Relu()(x) + Sqrt()(x)})
    assert apply(graph, [keep_the_relu]) == {"keep_the_relu": 1}


def test_a_const_hole_declines_for_what_is_computed(graph, x):
    graph.output({"y": x * x})
    assert apply(graph, [unscale]) == {}


def test_an_interior_with_several_users_declines(graph, x):
    inner = Sigmoid()(x)
    graph.output({"y": Relu()(inner), "z": Sqrt()(inner)})
    assert apply(graph, [positive]) == {}


def test_an_interior_that_is_an_output_declines(graph, x):
    inner = Sigmoid()(x)
    graph.output({"y": Relu()(inner), "z": inner})
    assert apply(graph, [positive]) == {}


def test_the_matched_operations_go(graph, x):
    graph.output({"y": Relu()(Sigmoid()(x))})
    assert apply(graph, [positive]) == {"positive": 1}
    assert [node.op.mnemonic for node in graph] == ["input", "sigmoid", "output"]
    verify(graph)


def test_root_is_the_whole_match(graph, x):
    @rule(P(Elu, A))
    def doubled_alpha(a, root):
        return Elu(2 * root.op.alpha)(a) if root.op.alpha < 1 else None

    graph.output({"y": Elu(0.3)(x)})
    assert apply(graph, [doubled_alpha]) == {"doubled_alpha": 2}
    assert graph.outputs["y"].op == Elu(1.2)


def test_the_name_of_the_replaced_is_inherited(graph, x):
    graph.output({"y": graph.add(Relu(), Sigmoid()(x), name="relu1")})
    apply(graph, [positive])
    assert graph.outputs["y"].node.name == "relu1"


def test_new_operations_come_from_all_layers_that_they_replace(graph, x):
    with graph.building("sigmoid1"):
        inner = Sigmoid()(x)
    with graph.building("relu1"):
        graph.output({"y": Relu()(inner)})
    apply(graph, [positive])
    assert graph.outputs["y"].node.sources == ("sigmoid1", "relu1")


def test_a_rule_that_declines_after_building_leaves_nothing_behind(graph, x):
    @rule(P(Relu, A))
    def indecisive(a):
        Sqrt()(a * 2 + 1)

    graph.output({"y": Relu()(x)})
    before, nodes = str(graph), list(graph)
    assert apply(graph, [indecisive]) == {}
    assert str(graph) == before
    assert list(graph) == nodes


def test_a_rule_that_declines_one_order_leaves_nothing_of_it(graph, x):
    @rule(P(Add, A, B))
    def second_thoughts(a, b):
        built = Sqrt()(a)
        return built if isinstance(a.op, Sigmoid) else None

    graph.output({"y": x + Sigmoid()(x)})
    apply(graph, [second_thoughts])
    assert [node.op.mnemonic for node in graph] == ["input", "sigmoid", "sqrt", "output"]


def test_rules_that_chase_one_another_are_named(graph, x):
    @rule(P(Relu, A))
    def there(a):
        return Elu()(a)

    @rule(P(Elu, A))
    def back(a):
        return Relu()(a)

    graph.output({"y": Relu()(x)})
    with pytest.raises(PassError, match=r"rewrite without end: (there, back|back, there)"):
        apply(graph, [there, back])


def test_a_rule_that_grows_without_end_is_named(graph, x):
    @rule(P(Relu, A))
    def grow(a):
        return Relu()(Sigmoid()(a))

    graph.output({"y": Relu()(x)})
    with pytest.raises(PassError, match="rewrite without end: grow"):
        apply(graph, [grow])


def test_a_rule_that_changes_the_type_is_refused_by_name(graph, x):
    @rule(P(Relu, A))
    def narrow(a):
        return Slice(1, 0, 2)(a)

    graph.output({"y": Relu()(x)})
    with pytest.raises(PassError, match=r"rule narrow turned %relu: f32\[N, 4\] into %slice: f32\[N, 2\]"):
        apply(graph, [narrow])


def test_what_a_rewrite_touches_is_looked_at_again(graph, x, body):
    """The sigmoid below appears only after the identity between has gone; the relu above was visited first."""
    graph.output({"y": Relu()(Identity()(Sigmoid()(x)))})
    assert apply(graph, [positive, drop]) == {"drop": 1, "positive": 1}
    assert body(graph) == "%sigmoid = sigmoid(%x) : f32[N, 4]\nreturn y=%sigmoid"


def test_losing_a_user_makes_an_interior_ready(graph, x):
    """The sigmoid has two users until `dead` has been rewritten away."""

    @rule(P(Mul, A, B))
    def take_left(a, b):
        return a

    inner = Sigmoid()(x)
    graph.output({"y": Relu()(inner), "z": Mul()(x, inner)})
    assert apply(graph, [positive, take_left]) == {"take_left": 1, "positive": 1}


def test_a_chain_of_a_thousand_collapses(graph, x, body):
    y = x
    for _ in range(1000):
        y = Identity()(y)
    graph.output({"y": Relu()(y)})
    assert apply(graph, [drop]) == {"drop": 1000}
    assert body(graph) == "%relu = relu(%x) : f32[N, 4]\nreturn y=%relu"


def test_the_work_grows_with_the_graph_and_no_faster():
    """12,000 operations with 6,000 rewrites: a node is visited a few times, however large the graph."""
    visits = {}
    for size in (600, 6000):
        graph = Graph()
        y = graph.input("x", f32(N, 4))
        for _ in range(size):
            y = Relu()(Sigmoid()(y))
        graph.output({"y": y})
        count = 0

        @rule(P(Relu, P(Sigmoid, A)))
        def counted(a):
            nonlocal count
            count += 1
            return Sqrt()(a)

        assert len(graph) == 2 * size
        assert apply(graph, [counted, drop]) == {"counted": size}
        assert len(graph) == size
        visits[size] = count
    assert visits == {600: 600, 6000: 6000}


def test_shared_constants_do_not_make_it_slow(graph, x):
    """Every rewrite touches a constant that 2,000 others read; none of them is looked at again for that."""
    looked = 0

    @rule(P(Mul, A, C))
    def halve(a, c):
        nonlocal looked
        looked += 1
        return Div()(a, c)

    shared = graph.const(np.float32(2))
    y = x
    for _ in range(2000):
        y = Mul()(y, shared)
    graph.output({"y": y})
    assert apply(graph, [halve]) == {"halve": 2000}
    assert looked == 2000
    assert sum(isinstance(node.op, Const) for node in graph) == 1


def test_a_rule_for_a_base_class(graph, x):
    @rule(P(Unary, A))
    def drop_any(a):
        return a

    graph.output({"y": Relu()(Sigmoid()(x))})
    assert apply(graph, [drop_any]) == {"drop_any": 2}


def test_a_parameter_that_the_pattern_does_not_bind_is_an_error_of_the_definition():
    with pytest.raises(PassError, match=r"rule add_twice: the pattern binds no 'const'; parameters can be root, x, y"):

        @rule(P(Add, Var("x"), Var("y")))
        def add_twice(x, const):
            """never reached"""


def test_a_pattern_cannot_bind_the_name_of_the_whole_match():
    with pytest.raises(PassError, match="rule keep: the pattern binds 'root', which stands for the whole match"):

        @rule(P(Relu, Var("root")))
        def keep(root):
            """never reached"""
