"""fold_weighted_sums: pooling by weights as a product of matrices, or with the sum of an item first."""

from __future__ import annotations

import pytest

from hugectr2onnx.ir.graph import Graph
from hugectr2onnx.ir.ops.reduce import ReduceSum
from hugectr2onnx.ir.ops.shape import Reshape
from hugectr2onnx.ir.types import N, f32
from hugectr2onnx.passes.algebra.fold_weighted_sums import fold_weighted_sums


def pooled(axis: int = 1, *, keepdims: bool = True, flat: bool = False, weight: int = 1, shared: bool = False) -> Graph:
    graph = Graph("g")
    p, h = graph.input("p", f32(N, 5, weight)), graph.input("h", f32(N, 5, 3))
    product = p * h
    y = ReduceSum(axis, keepdims=keepdims)(Reshape((N, 15))(product) if flat else product)
    graph.output({"y": y, "product": product} if shared else {"y": y})
    return graph


def test_items_are_pooled_by_a_product(prove, lines):
    graph = pooled()
    assert prove(graph, fold_weighted_sums) == {"fold_sum_of_items": 1}
    assert lines(graph) == [
        "%reshape = reshape(%p) {shape=[N, 1, 5]} : f32[N, 1, 5]",
        "%mat_mul = mat_mul(%reshape, %h) : f32[N, 1, 3]",
    ]


def test_the_axis_may_go(prove, lines):
    graph = pooled(keepdims=False)
    prove(graph, fold_weighted_sums)
    assert lines(graph)[-1] == "%reshape_2 = reshape(%mat_mul) {shape=[N, 3]} : f32[N, 3]"


@pytest.mark.parametrize("keepdims", [True, False])
def test_a_sum_over_everything_sums_an_item_first(prove, lines, keepdims):
    graph = pooled(flat=True, keepdims=keepdims)
    assert prove(graph, fold_weighted_sums) == {"sum_items_first": 1}
    assert lines(graph)[:3] == [
        "%reshape = reshape(%p) {shape=[N, 5]} : f32[N, 5]",
        "%reduce_sum = reduce_sum(%h) {axis=2, keepdims=False} : f32[N, 5]",
        "%mul = mul(%reshape, %reduce_sum) : f32[N, 5]",
    ]


@pytest.mark.parametrize(
    "graph",
    [pooled(axis=2), pooled(axis=0), pooled(weight=3), pooled(shared=True), pooled(axis=0, flat=True)],
    ids=[
        "along the item",
        "over the batch",
        "a weight a number",
        "a product that somebody else reads",
        "flat, over the batch",
    ],
)
def test_declines(graph):
    text = str(graph)
    assert not fold_weighted_sums(graph)
    assert str(graph) == text
