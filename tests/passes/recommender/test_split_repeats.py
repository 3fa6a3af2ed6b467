"""split_repeats: a target scored against each item of a history."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hugectr2onnx.ir.evaluator import evaluate
from hugectr2onnx.ir.graph import Graph
from hugectr2onnx.ir.ops.elementwise import Relu
from hugectr2onnx.ir.ops.linear import Linear
from hugectr2onnx.ir.ops.shape import Concat, Repeat, Reshape
from hugectr2onnx.ir.types import Batch, N, f32
from hugectr2onnx.passes.recommender.split_repeats import split_repeats

DIN = ("target", "items", "difference", "product")


def scored(
    columns=1,
    parts=DIN,
    *,
    factor=5,
    width=3,
    axis=1,
    activation=None,
    difference=1.0,
    seed=0,
    shared=False,
    slot=False,
) -> Graph:
    graph = Graph("g")
    rng = np.random.default_rng(seed)
    a = Reshape((N, width))(graph.input("a", f32(N, 1, width))) if slot else graph.input("a", f32(N, width))
    h = graph.input("h", f32(Batch(N.factor * factor), width))
    target = Repeat(0, factor)(a)
    product = target * h
    makers = {
        "target": lambda: target,
        "items": lambda: h,
        "difference": lambda: target - h,
        "turned": lambda: h - target,
        "sum": lambda: h + target,
        "product": lambda: product,
        "product of product": lambda: target * product,
        "other": lambda: graph.input("o", h.type),
    }
    joined = Concat(axis)(*(makers[part]() for part in parts))
    scale = [difference if part == "difference" else 1.0 for part in parts for _ in range(width)]
    w = np.array(scale)[:, None] * rng.normal(size=(len(scale), columns))
    b = graph.const(rng.normal(size=columns).astype(np.float32), "b")
    y = Linear(activation)(joined, graph.const(w.astype(np.float32), "w"), b)
    graph.output({"y": y, "joined": joined} if shared else {"y": y})
    graph.prune()
    return graph


def test_one_column_is_a_product_with_a_vector_a_sample(prove, lines):
    graph = scored()
    assert prove(graph, split_repeats) == {"split_linear": 1}
    assert lines(graph) == [
        "%mul = mul(%a, %const) : f32[N, 3]",
        "%add = add(%mul, %const_2) : f32[N, 3]",
        "%reshape = reshape(%add) {shape=[N, 1, 3]} : f32[N, 1, 3]",
        "%reshape_2 = reshape(%h) {shape=[N, 5, 3]} : f32[N, 5, 3]",
        "%transpose = transpose(%reshape_2) {perm=[0, 2, 1]} : f32[N, 3, 5]",
        "%mat_mul = mat_mul(%reshape, %transpose) : f32[N, 1, 5]",
        "%reshape_3 = reshape(%mat_mul) {shape=[5N, 1]} : f32[5N, 1]",
        "%linear = linear(%a, %const_3, %b) : f32[N, 1]",
        "%repeat = repeat(%linear) {axis=0, factor=5} : f32[5N, 1]",
        "%add_2 = add(%reshape_3, %repeat) : f32[5N, 1]",
    ]


def test_a_target_that_was_a_slot_is_not_reshaped_twice(prove, lines):
    graph = scored(slot=True)
    prove(graph, split_repeats)
    assert "%mul = mul(%a, %const) : f32[N, 1, 3]" in lines(graph)


def test_several_columns_are_products_and_a_repetition(prove, lines):
    graph = scored(columns=4)
    prove(graph, split_repeats)
    assert lines(graph) == [
        "%mat_mul = mat_mul(%h, %const) : f32[5N, 4]",
        "%repeat = repeat(%a) {axis=0, factor=5} : f32[5N, 3]",
        "%mul = mul(%repeat, %h) : f32[5N, 3]",
        "%mat_mul_2 = mat_mul(%mul, %const_2) : f32[5N, 4]",
        "%add = add(%mat_mul, %mat_mul_2) : f32[5N, 4]",
        "%linear = linear(%a, %const_3, %b) : f32[N, 4]",
        "%repeat_2 = repeat(%linear) {axis=0, factor=5} : f32[5N, 4]",
        "%add_2 = add(%add, %repeat_2) : f32[5N, 4]",
    ]


@pytest.mark.parametrize(
    "parts", [("product of product", "product", "target"), ("product", "product of product", "target")]
)
def test_a_product_that_another_one_multiplies_again(prove, parts):
    """Whichever comes first takes the other's weight with it."""
    assert prove(scored(parts=parts), split_repeats) == {"split_linear": 1}


def test_the_activation_comes_last(prove, lines):
    graph = scored(columns=4, activation=Relu())
    prove(graph, split_repeats)
    assert lines(graph)[-1] == "%relu = relu(%add_2) : f32[5N, 4]"


@pytest.mark.parametrize("columns", [1, 3])
@pytest.mark.parametrize(
    "parts",
    [
        ("target", "items"),
        ("items", "product", "turned"),
        ("target", "target", "items", "sum"),
        ("target", "other", "items"),
    ],
)
def test_other_combinations(prove, columns, parts):
    assert prove(scored(columns, parts), split_repeats) == {"split_linear": 1}


def test_a_difference_that_outweighs_its_operands_stays_a_difference(prove, lines):
    graph = scored(columns=2, difference=1e6)
    prove(graph, split_repeats, rtol=2e-5)
    assert any("sub(" in line for line in lines(graph))


@pytest.mark.parametrize(
    "graph",
    [
        scored(factor=2),
        scored(parts=("items", "product")),
        scored(shared=True),
    ],
    ids=["few repetitions", "nothing but products", "columns that somebody else reads"],
)
def test_declines(graph):
    text = str(graph)
    assert not split_repeats(graph)
    assert str(graph) == text


def test_weights_whose_sum_overflows_decline():
    graph = Graph("g")
    target, h = Repeat(0, 5)(graph.input("a", f32(N, 1))), graph.input("h", f32(Batch(N.factor * 5), 1))
    w, b = graph.const(np.full((5, 1), 1e38, np.float32)), graph.const(np.ones(1, np.float32))
    graph.output({"y": Linear()(Concat(1)(target, target, target, target, h), w, b)})
    assert not split_repeats(graph)


def test_many_other_columns_decline():
    graph = Graph("g")
    rows = f32(Batch(N.factor * 5), 1)
    target = Repeat(0, 5)(graph.input("a", f32(N, 1)))
    joined = Concat(1)(target, *(graph.input(f"x{i}", rows) for i in range(4)))
    graph.output({"y": Linear()(joined, graph.const(np.ones((5, 1), np.float32)), graph.const(np.ones(1, np.float32)))})
    assert not split_repeats(graph)


@settings(max_examples=40, deadline=None)
@given(
    columns=st.integers(1, 3),
    width=st.integers(1, 4),
    factor=st.integers(4, 7),
    parts=st.lists(st.sampled_from([*DIN, "sum", "turned"]), min_size=1, max_size=5),
    seed=st.integers(0, 1 << 20),
)
def test_the_algebra(columns, width, factor, parts, seed):
    graphs = [scored(columns, tuple(parts), width=width, factor=factor, seed=seed) for _ in range(2)]
    split_repeats(graphs[1])
    rng = np.random.default_rng(seed)
    feeds = {v.node.name: rng.normal(size=v.type.concrete(3)).astype(np.float32) for v in graphs[0].inputs}
    expected, found = (evaluate(graph, feeds)["y"] for graph in graphs)
    np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-5)
