"""Operations that give back what they were given."""

from __future__ import annotations

import pytest

from hugectr2onnx.ir.ops.elementwise import Relu, Sigmoid
from hugectr2onnx.ir.ops.shape import Concat, Repeat, Reshape, Slice, Take, Transpose
from hugectr2onnx.ir.ops.structural import Identity
from hugectr2onnx.ir.types import N, f32, scale
from hugectr2onnx.passes.cleanup.drop_identities import drop_identities


@pytest.mark.parametrize(
    "op, rule",
    [
        (Identity(), "drop_identity"),
        (Slice(1, 0, 4), "drop_whole_slice"),
        (Concat(1), "drop_single_concat"),
        (Reshape((N, 4)), "drop_reshape_to_same"),
        (Transpose((0, 1)), "drop_transpose"),
        (Repeat(1, 1), "drop_single_repeat"),
        (Take(1, (0, 1, 2, 3)), "drop_whole_take"),
    ],
    ids=str,
)
def test_it_drops(graph, x, sound, body, op, rule):
    graph.output({"y": Sigmoid()(op(x))})
    assert sound(drop_identities, graph) == {rule: 1}
    assert body(graph) == "%sigmoid = sigmoid(%x) : f32[N, 4]\nreturn y=%sigmoid"


@pytest.mark.parametrize(
    "op",
    [
        Slice(1, 0, 3),
        Slice(1, 1, 4),
        Reshape((scale(N, 2), 2)),
        Reshape((N, 2, 2)),
        Transpose((1, 0)),
        Repeat(1, 2),
        Take(1, (0, 1, 2)),
        Take(1, (1, 0, 2, 3)),
        Take(1, (0, 0, 1, 2)),
        Take(0, (0, 1)),
        Relu(),
    ],
    ids=str,
)
def test_it_keeps_what_changes_something(graph, x, sound, op):
    graph.output({"y": op(x)})
    assert sound(drop_identities, graph) == {}


def test_it_keeps_a_concat_of_two(graph, x, sound):
    graph.output({"y": Concat(1)(x, x)})
    assert sound(drop_identities, graph) == {}


def test_an_input_may_become_an_output(graph, x, sound, body):
    graph.output({"y": Identity()(x), "z": Slice(1, 0, 4)(x)})
    assert sound(drop_identities, graph).total() == 2
    assert body(graph) == "return y=%x, z=%x"


def test_the_copies_that_hugectr_inserts_go(graph, x, sound, body):
    """A tensor with two readers is copied by a Slice with two tops (layers 1.3)."""
    relu = graph.add(Relu(), x, name="relu1")
    one, two = (graph.add(Slice(1, 0, 4), relu, name=f"relu1_slice{i}") for i in range(2))
    graph.output({"y": Sigmoid()(one) + two})
    assert sound(drop_identities, graph) == {"drop_whole_slice": 2}
    assert body(graph) == (
        "%relu1 = relu(%x) : f32[N, 4]\n"
        "%sigmoid = sigmoid(%relu1) : f32[N, 4]\n"
        "%add = add(%sigmoid, %relu1) : f32[N, 4]\n"
        "return y=%add"
    )


def test_reshapes_merge(graph, x, sound, body):
    graph.output({"y": Reshape((scale(N, 4), 1))(Reshape((scale(N, 2), 2))(x))})
    assert sound(drop_identities, graph) == {"merge_reshapes": 1}
    assert body(graph) == "%reshape = reshape(%x) {shape=[4N, 1]} : f32[4N, 1]\nreturn y=%reshape"


def test_reshapes_there_and_back_go(graph, x, sound, body):
    graph.output({"y": Reshape((N, 4))(Reshape((scale(N, 2), 2))(x))})
    assert sound(drop_identities, graph) == {"merge_reshapes": 1, "drop_reshape_to_same": 1}
    assert body(graph) == "return y=%x"


def test_a_reshape_that_others_read_stays_for_them(graph, x, sound, body):
    inner = Reshape((scale(N, 2), 2))(x)
    graph.output({"y": Reshape((scale(N, 4), 1))(inner), "z": inner})
    assert sound(drop_identities, graph) == {"merge_reshapes": 1}
    assert body(graph) == (
        "%reshape = reshape(%x) {shape=[4N, 1]} : f32[4N, 1]\n"
        "%reshape_2 = reshape(%x) {shape=[2N, 2]} : f32[2N, 2]\n"
        "return y=%reshape, z=%reshape_2"
    )


def test_slices_of_slices_merge_along_one_axis(graph, x, sound, body):
    graph.output({"y": Slice(1, 1, 2)(Slice(1, 1, 4)(x))})
    assert sound(drop_identities, graph) == {"merge_slices": 1}
    assert body(graph) == "%slice = slice(%x) {axis=1, start=2, end=3} : f32[N, 1]\nreturn y=%slice"


def test_slices_along_two_axes_stay(graph, sound):
    x = graph.input("cube", f32(N, 3, 4))
    graph.output({"y": Slice(2, 0, 2)(Slice(1, 0, 2)(x))})
    assert sound(drop_identities, graph) == {}


def test_a_second_relu_goes(graph, x, sound, body):
    graph.output({"y": Relu()(Relu()(Relu()(x)))})
    assert sound(drop_identities, graph) == {"merge_relus": 2}
    assert body(graph) == "%relu = relu(%x) : f32[N, 4]\nreturn y=%relu"


def test_a_chain_of_a_thousand_identities_collapses(graph, x, sound, body):
    y = x
    for _ in range(1000):
        y = Identity()(y)
    graph.output({"y": y})
    assert sound(drop_identities, graph) == {"drop_identity": 1000}
    assert body(graph) == "return y=%x"


def test_names_survive(graph, x, body):
    """HugeCTR's name of the dropped operation is the better one where the other has none."""
    graph.output({"y": Sigmoid()(graph.add(Identity(), Relu()(x), name="dropout1"))})
    drop_identities(graph)
    assert body(graph).splitlines()[0] == "%dropout1 = relu(%x) : f32[N, 4]"
