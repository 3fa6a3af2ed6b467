"""fold_layer_norms: of a normalization between products, one division by a length is left."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hugectr2onnx.ir.evaluator import evaluate, evaluate_values
from hugectr2onnx.ir.graph import Graph
from hugectr2onnx.ir.ops.elementwise import Relu
from hugectr2onnx.ir.ops.linear import Accumulate, Linear, MatMul
from hugectr2onnx.ir.ops.normalization import LayerNormalization
from hugectr2onnx.ir.ops.shape import Concat, Reshape
from hugectr2onnx.ir.types import Batch, N, f32
from hugectr2onnx.passes.algebra.fold_layer_norms import fold_layer_norms

ROWS = Batch(N.factor * 5)
EPS = 1e-3


class Block:
    """%x [5N, 3] -> a product to n columns -> layer normalization; `read` gives what reads it."""

    def __init__(self, n=4, *, made="linear", eps=EPS, activation=None, scale=1.0, seed=0, shift=0.0, rows=ROWS):
        self.graph, self.rng = Graph("g"), np.random.default_rng(seed)
        self.x = self.graph.input("x", f32(rows, 3))
        made_by = {"linear": self._linear, "product": self._product, "onto": self._onto, "sum": self._sum}
        self.before = made_by[made](n, activation, shift)
        gamma, beta = self.const(n, name="gamma", scale=scale), self.const(n, name="beta")
        self.normal = LayerNormalization(eps, fused=True)(self.before, gamma, beta)

    def const(self, *shape, name="", scale=1.0, shift=0.0):
        return self.graph.const((scale * self.rng.normal(size=shape) + shift).astype(np.float32), name)

    def _linear(self, n, activation, shift):
        return Linear(activation)(self.x, self.const(3, n), self.const(n, shift=shift))

    def _product(self, n, activation, shift):
        return self.x @ self.const(3, n)

    def _onto(self, n, activation, shift):
        other = self.graph.input("c", f32(ROWS, 2))
        return Accumulate()(other, self.const(2, n), self._linear(n, activation, shift))

    def _sum(self, n, activation, shift):
        return self._linear(n, activation, shift) + self._product(n, activation, shift)

    def read(self, value, m=2, **options):
        width = value.shape[-1]
        return Linear(**options)(value, self.const(width, m), self.const(m))

    def outputs(self, *values):
        self.graph.output({f"y{i}": value for i, value in enumerate(values)})
        return self.graph


def between_products(**options) -> Graph:
    block = Block(**options)
    return block.outputs(block.read(block.normal))


def test_between_two_linears(prove, lines):
    graph = between_products()
    assert prove(graph, fold_layer_norms) == {"fold_layer_norms": 1}
    assert lines(graph) == [
        "%linear = linear(%x, %const, %const_2) : f32[5N, 4]",
        "%unit_length = unit_length(%linear) : f32[5N, 4]",
        "%linear_2 = linear(%unit_length, %const_3, %const_4) : f32[5N, 2]",
    ]


@pytest.mark.parametrize("made", ["product", "onto"])
def test_other_products_before(prove, made):
    assert prove(between_products(made=made), fold_layer_norms, rtol=5e-6) == {"fold_layer_norms": 1}


def test_readers_with_activations_without_bias_and_through_moves(prove, lines):
    block = Block()
    joined = Concat(1)(
        block.graph.input("z", f32(N, 3)), Reshape((N, 20))(block.normal), block.graph.input("u", f32(N, 1))
    )
    slots = Reshape((N, 5, 4))(block.normal)
    graph = block.outputs(
        block.read(block.normal, activation=Relu()),
        slots @ block.const(4, 3),
        block.read(joined, 3),
        block.read(joined),
    )
    assert prove(graph, fold_layer_norms, rtol=5e-6) == {"fold_layer_norms": 1}
    assert not any("layer_normalization" in line for line in lines(graph))


def test_what_is_divided_by_is_the_deviation():
    """|z|^2 = n (var(x) + eps), whatever the weights are."""
    graph = between_products(n=5)
    x, feeds = (
        graph.outputs["y0"].inputs[0].inputs[0],
        {"x": np.random.default_rng(1).normal(size=(10, 3)).astype(np.float32)},
    )
    (before,) = evaluate_values(graph, [x], feeds)
    fold_layer_norms(graph)
    (z,) = evaluate_values(graph, [graph.outputs["y0"].inputs[0].inputs[0]], feeds)
    np.testing.assert_allclose((z * z).sum(1), 5 * (before.var(1) + EPS), rtol=1e-5)


def test_rows_of_two_samples(prove):
    """Where a Reshape merges samples, half a batch is no number for a batch of one."""
    block = Block(rows=Batch(N.factor / 2))
    joined = Concat(1)(block.x, block.normal)
    assert prove(block.outputs(block.read(joined)), fold_layer_norms, batches=(2, 6)) == {"fold_layer_norms": 1}


def test_a_thousand_joins_on_the_way():
    block = Block()
    joined = block.normal
    for _ in range(1100):
        joined = Concat(1)(joined, block.x)
    graph = block.outputs(block.read(joined))
    assert fold_layer_norms(graph) == {"fold_layer_norms": 1}


def test_constant_rows_give_beta(prove):
    """Where all columns are equal, nothing but eps is under the root."""
    block = Block()
    same = block.graph.const(np.full((3, 4), 0.5, np.float32))
    normal = LayerNormalization(1e-5, fused=True)(block.x @ same, *block.normal.inputs[1:])
    graph = block.outputs(block.read(normal))
    graph.prune()
    assert prove(graph, fold_layer_norms, rtol=1e-5) == {"fold_layer_norms": 1}


def several(*readers: str) -> Graph:
    block = Block()
    normal, graph = block.normal, block.graph
    made = {
        "output": lambda: normal,
        "relu": lambda: Relu()(normal),
        "before": lambda: block.before,
        "linear": lambda: block.read(normal),
        "twice": lambda: block.read(Concat(1)(normal, normal)),
        "right": lambda: MatMul()(graph.input("left", f32(2, 5)), Reshape((5, 4))(graph.input("r", f32(5, 4)))),
        "cut": lambda: block.read(Reshape((Batch(N.factor * 10), 2))(normal)),
    }
    return block.outputs(*(made[name]() for name in readers))


@pytest.mark.parametrize(
    "graph",
    [
        several("linear", "output"),
        several("linear", "relu"),
        several("linear", "before"),
        several("twice"),
        several("cut"),
        between_products(activation=Relu()),
        between_products(made="sum"),
        between_products(n=1),
        between_products(n=65),
        between_products(eps=0.0),
        between_products(n=60, scale=1e38),
    ],
    ids=[
        "it is an output",
        "something else reads it",
        "something else reads what is normalized",
        "a product reads it twice",
        "rows that are cut",
        "an activation before",
        "a sum before",
        "one column",
        "many columns",
        "nothing under the root",
        "weights that overflow",
    ],
)
def test_declines(graph):
    text = str(graph)
    assert not fold_layer_norms(graph)
    assert str(graph) == text


@settings(max_examples=40, deadline=None)
@given(
    n=st.integers(2, 12),
    scale=st.sampled_from([1e-3, 1.0, 1e3]),
    shift=st.sampled_from([0.0, 5.0]),
    seed=st.integers(0, 99),
)
def test_accuracy(n, scale, shift, seed):
    """In float32 it is no further from the exact value than the plain operations are, up to a factor of 8."""
    plain = between_products(n=n, scale=scale, seed=seed, shift=shift)
    folded = plain.clone()
    assert fold_layer_norms(folded)
    feeds = {"x": np.random.default_rng(seed).normal(size=(40, 3)).astype(np.float32)}
    exact = evaluate(plain, feeds)["y0"]
    plain_error, error = (np.abs(evaluate(g, feeds, precision=np.float32)["y0"] - exact).max() for g in (plain, folded))
    assert error <= 8 * plain_error + 1e-6 * np.abs(exact).max()
