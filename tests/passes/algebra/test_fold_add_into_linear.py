"""fold_add_into_linear: the shortcut around a linear goes into its weight, another product under it."""

from __future__ import annotations

import numpy as np
import pytest

from hugectr2onnx.ir.graph import Graph
from hugectr2onnx.ir.ops.elementwise import Relu
from hugectr2onnx.ir.ops.linear import Linear
from hugectr2onnx.ir.types import N, f32
from hugectr2onnx.passes.algebra.fold_add_into_linear import fold_add_into_linear

RNG = np.random.default_rng(1)


def block(width: int = 4, *, activation: object = None, other: bool = False, scale: float = 1.0) -> Graph:
    graph = Graph("g")
    x, z = graph.input("x", f32(N, 4)), graph.input("z", f32(N, 4))
    w = graph.const((scale * RNG.normal(size=(4, width))).astype(np.float32), "w")
    b = graph.const(RNG.normal(size=width).astype(np.float32), "b")
    graph.output({"y": Linear(activation)(x, w, b) + (z if other else x)})  # type: ignore[arg-type]
    return graph


def test_the_identity_joins_the_weight(prove, lines):
    graph = block()
    weight = next(node.op.array for node in graph if node.name == "w")
    assert lines(graph) == ["%linear = linear(%x, %w, %b) : f32[N, 4]", "%add = add(%linear, %x) : f32[N, 4]"]
    assert prove(graph, fold_add_into_linear) == {"fold_shortcut": 1}
    assert lines(graph) == ["%linear = linear(%x, %const, %const_2) : f32[N, 4]"]
    folded = graph.outputs["y"].inputs[1].const
    np.testing.assert_allclose(folded, weight + np.eye(4), rtol=1e-6)


@pytest.mark.parametrize(
    "graph",
    [block(activation=Relu()), block(other=True), block(width=1)],
    ids=["an activation in between", "another shortcut", "a linear to one column, which broadcasts"],
)
def test_declines(graph):
    text = str(graph)
    assert not fold_add_into_linear(graph)
    assert str(graph) == text


def test_a_linear_that_somebody_else_reads_stays():
    graph = Graph("g")
    x = graph.input("x", f32(N, 4))
    w, b = graph.const(np.eye(4, dtype=np.float32)), graph.const(np.zeros(4, np.float32))
    h = Linear()(x, w, b)
    graph.output({"y": h + x, "h": h})
    assert not fold_add_into_linear(graph)


def two_products(
    rows=N, *, width: int = 4, activation: object = None, bias: float = 1.0, shared: bool = False
) -> Graph:
    graph = Graph("g")
    operands = graph.input("c", f32(rows, 3)), graph.input("x", f32(rows, 4))
    products = []
    for operand in operands:
        w = graph.const(RNG.normal(size=(operand.type.shape[-1], width)).astype(np.float32))
        products.append(Linear(activation)(operand, w, graph.const(np.full(width, bias, np.float32))))  # type: ignore[arg-type]
    graph.output({"y": products[0] + products[1], **({"c4": products[0]} if shared else {})})
    return graph


def test_a_product_is_added_to_what_another_wrote(prove, lines):
    graph = two_products()
    assert prove(graph, fold_add_into_linear) == {"add_product": 1}
    assert [line.split(" = ")[1] for line in lines(graph)] == [
        "linear(%x, %const, %const_2) : f32[N, 4]",
        "accumulate(%c, %const_3, %linear) : f32[N, 4]",
    ]


@pytest.mark.parametrize(
    "graph",
    [two_products(activation=Relu()), two_products(bias=3e38), two_products(shared=True)],
    ids=["an activation in between", "biases that overflow", "a product that somebody else reads"],
)
def test_products_that_stay_apart(graph):
    text = str(graph)
    assert not fold_add_into_linear(graph)
    assert str(graph) == text
