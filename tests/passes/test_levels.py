"""What the levels promise (design 5): 1 is exact, 2 is algebra with standard operators only, none changes the interface."""

from __future__ import annotations

import numpy as np
import pytest

from hugectr2onnx import passes
from hugectr2onnx.backend.onnx.emitter import emit
from hugectr2onnx.ir.evaluator import evaluate
from hugectr2onnx.ir.feeds import feeds_for
from hugectr2onnx.ir.graph import Graph
from hugectr2onnx.ir.ops.cross import CrossNetwork
from hugectr2onnx.ir.ops.elementwise import Relu, Sigmoid
from hugectr2onnx.ir.ops.factorization import FactorizationMachine
from hugectr2onnx.ir.ops.interaction import DotInteraction
from hugectr2onnx.ir.ops.lookup import Embedding, SlotOffset
from hugectr2onnx.ir.ops.normalization import BatchNormalization, LayerNormalization
from hugectr2onnx.ir.ops.reduce import ReduceSum
from hugectr2onnx.ir.ops.shape import Concat, Reshape, Slice, Take
from hugectr2onnx.ir.ops.structural import Identity
from hugectr2onnx.ir.types import N, f32, i64

STANDARD = {"", "ai.onnx.ml"}


def random(graph: Graph, *shape: int):
    return graph.const(np.random.default_rng(sum(shape)).normal(0, 0.5, shape).astype(np.float32))


def dense(value, width: int):
    return value @ random(value.graph, value.shape[-1], width) + random(value.graph, width)


def embedded(graph: Graph, slots: int, width: int):
    keys = SlotOffset(tuple(range(0, 10 * slots, 10)))(graph.input("keys", i64(N, slots, 2)))
    return Embedding("mean")(keys, graph.const(np.random.default_rng(0).permutation(60)), random(graph, 60, width))


def wide_and_deep() -> Graph:
    graph = Graph("wide_and_deep")
    x, flat = graph.input("dense", f32(N, 3)), Reshape((N, 20))(embedded(graph, 5, 4))
    deep = dense(Identity()(Relu()(dense(Concat(1)(x, flat), 8))), 1)
    wide = ReduceSum(1)(Slice(1, 0, 4)(Identity()(flat)))
    graph.output({"label": Sigmoid()(deep + wide)})
    return graph


def normalised() -> Graph:
    graph = Graph("normalised")
    x = graph.input("dense", f32(N, 6))
    parameters = [random(graph, 5) for _ in range(3)]
    y = BatchNormalization(1e-3)(dense(x, 5), *parameters, graph.const(np.float32([1, 2, 3, 4, 5])))
    y = LayerNormalization(1e-3)(Relu()(y), random(graph, 5), random(graph, 5))
    graph.output({"a": dense(y, 2), "b": y})
    return graph


def crossed() -> Graph:
    graph = Graph("crossed")
    x = graph.input("dense", f32(N, 4))
    weights = [random(graph, *shape) for _ in range(2) for shape in ((4, 1), (4,))]
    slots = embedded(graph, 3, 4)
    joined = Concat(1)(CrossNetwork()(x, *weights), DotInteraction()(x, slots), FactorizationMachine()(slots))
    graph.output({"label": Sigmoid()(dense(joined, 1))})
    return graph


def untouched() -> Graph:
    """An input that nothing reads, an output that is an input, slots that nobody looks at, two equal branches."""
    graph = Graph("untouched")
    x = graph.input("dense", f32(N, 4))
    graph.input("unread", f32(N, 2))
    taken = Reshape((N, 4))(Take(1, (2, 0))(embedded(graph, 3, 2)))
    graph.output({"same": x, "y": Relu()(x + taken) * Relu()(taken + x)})
    return graph


MODELS = [wide_and_deep, normalised, crossed, untouched]


def optimised(graph: Graph, level: int) -> Graph:
    passes.run(graph, level, validate=True)
    return graph


@pytest.mark.parametrize("build", MODELS)
def test_level_1_computes_exactly_the_same(build):
    graph = optimised(build(), 1)
    for batch in (1, 7):
        feeds = feeds_for(graph, batch, batch)
        expected = evaluate(build(), feeds)
        for name, array in evaluate(graph, feeds).items():
            np.testing.assert_array_equal(array, expected[name])


@pytest.mark.parametrize("level", [2, 3])
@pytest.mark.parametrize("build", MODELS)
def test_higher_levels_compute_the_same_within_the_tolerance(build, level):
    graph = optimised(build(), level)
    feeds = feeds_for(graph, 7, 0)
    expected = evaluate(build(), feeds)
    for name, array in evaluate(graph, feeds).items():
        np.testing.assert_allclose(array, expected[name], rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("level", [0, 1, 2])
@pytest.mark.parametrize("build", MODELS)
def test_standard_operators_up_to_level_2(build, level):
    model = emit(optimised(build(), level), graph_name="g", opset=17, version="0", metadata={}).skeleton
    assert {node.domain for node in model.graph.node} <= STANDARD
    assert {entry.domain for entry in model.opset_import} <= STANDARD


@pytest.mark.parametrize("level", sorted(passes.PIPELINES))
@pytest.mark.parametrize("build", MODELS)
def test_no_level_changes_the_interface(build, level):
    before, after = build(), optimised(build(), level)
    assert [(v.node.name, v.type) for v in after.inputs] == [(v.node.name, v.type) for v in before.inputs]
    assert {n: v.type for n, v in after.outputs.items()} == {n: v.type for n, v in before.outputs.items()}
    assert list(after.outputs) == list(before.outputs)


@pytest.mark.parametrize("level", sorted(passes.PIPELINES))
@pytest.mark.parametrize("build", MODELS)
def test_a_second_run_has_nothing_to_do(build, level):
    graph = optimised(build(), level)
    text = str(graph)
    assert passes.run(graph, level) == ()
    assert str(graph) == text


def test_a_level_does_all_that_the_one_below_does():
    for low, high in ((0, 1), (1, 2), (2, 3)):
        assert set(passes.PIPELINES[low]) <= set(passes.PIPELINES[high])
        assert set(passes.FINISHING[low]) <= set(passes.FINISHING[high])


def test_every_pass_says_what_it_does():
    for each in {*passes.PIPELINES[3], *passes.FINISHING[3]}:
        assert "->" in (each.__doc__ or ""), each.__name__
