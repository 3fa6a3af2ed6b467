"""Random HugeCTR graphs whose layers fit: every pass and every level keeps what they compute, and the compiler proves it.

A graph grows layer by layer from dense features and embeddings (`growing`, `layers`), around sub-structures that the
passes know (`motifs`). Tops may have several readers, some behind the Slice that HugeCTR inserts for that.
"""

from __future__ import annotations

import tempfile
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import hugectr2onnx
from hugectr2onnx import passes
from hugectr2onnx.ir.evaluator import evaluate
from hugectr2onnx.ir.feeds import feeds_for, smallest_batch
from hugectr2onnx.ir.graph import Graph
from hugectr2onnx.ir.verifier import verify
from hugectr2onnx.sample_models import generate_weights

from .growing import Growing, Tensor
from .models import BOUNDED, ROWS, Model, imported, models
from .motifs import add_merged_samples

PIPELINES = [*passes.PIPELINES.values(), *passes.FINISHING.values()]
PASSES = list(dict.fromkeys(each for pipeline in PIPELINES for each in pipeline))
Answers = list[tuple[dict[str, np.ndarray], dict[str, np.ndarray], dict[str, np.ndarray]]]


def answers(graph: Graph) -> Answers:
    """Feeds and what the graph makes of them, in float32 too. A pass may change which keys are drawn, so they are kept."""
    batches = [smallest_batch(graph) * size for size in (1, 5)]
    every = [feeds_for(graph, batch, 1) for batch in batches]
    return [(feeds, evaluate(graph, feeds), evaluate(graph, feeds, precision=np.float32)) for feeds in every]


def assert_same(graph: Graph, before: Answers, *, exact: bool) -> None:
    """The answers from before: bit for bit if `exact`, else within 1e-5 and what float32 loses of the row (masked scores)."""
    for feeds, expected, single in before:
        found = evaluate(graph, feeds)
        assert list(found) == list(expected)
        for name, array in found.items():
            if exact:
                np.testing.assert_array_equal(array, expected[name])
            else:
                noise = np.nan_to_num(np.abs(single[name] - expected[name]), posinf=0)
                by_row = noise.max(axis=tuple(range(1, noise.ndim)), keepdims=True)
                wrong = np.abs(array - expected[name]) > 1e-5 + 1e-5 * np.abs(expected[name]) + 8 * by_row
                assert not wrong.any(), f"{name}: {array[wrong]} instead of {expected[name][wrong]}"
                np.testing.assert_array_equal(np.isnan(array), np.isnan(expected[name]))


def interface(graph: Graph) -> tuple[object, ...]:
    return (*((v.node.name, v.type) for v in graph.inputs), *((name, v.type) for name, v in graph.outputs.items()))


@settings(BOUNDED, max_examples=100)
@given(models())
def test_what_fits_is_imported(model):
    graph = imported(model)
    verify(graph)
    losses = [layer for layer in model.layers if layer["type"].endswith("Loss")]
    if losses:
        assert list(graph.outputs) == [layer["bottom"][1] for layer in losses]
    for batch in (1, 5):
        for value, name in ((value, name) for name, value in graph.outputs.items()):
            size = batch * smallest_batch(graph)
            assert evaluate(graph, feeds_for(graph, size, 0))[name].shape == value.type.concrete(size)


@pytest.mark.parametrize("each", PASSES, ids=lambda each: each.__name__)
def test_every_pass_keeps_what_a_graph_computes(each):
    """On graphs as they are imported, and on those that the other passes have left."""

    @settings(BOUNDED, max_examples=30)
    @given(models(), st.booleans())
    def check(model, late):
        graph = imported(model)
        if late:
            passes.run(graph, 1)
        before, kept = answers(graph), interface(graph)
        each(graph)
        verify(graph)
        assert interface(graph) == kept
        assert_same(graph, before, exact=each in passes.PIPELINES[1])
        text = str(graph)
        assert not each(graph)
        assert str(graph) == text

    check()


@pytest.mark.parametrize("level", sorted(passes.PIPELINES))
def test_every_level_keeps_what_a_graph_computes_and_settles(level):
    @settings(BOUNDED, max_examples=100)
    @given(models())
    def check(model):
        graph = imported(model)
        before, kept = answers(graph), interface(graph)
        passes.run(graph, level, validate=True)
        verify(graph)
        assert interface(graph) == kept
        assert_same(graph, before, exact=level <= 1)
        text = str(graph)
        assert passes.run(graph, level) == ()
        assert str(graph) == text

    check()


@settings(BOUNDED, max_examples=30)
@given(models(add_merged_samples))
def test_rows_of_two_samples(model):
    """Half a batch is a number for few batches, so a pass must not ask how many rows there are in one."""
    graph = imported(model)
    before = answers(graph)
    passes.run(graph, 2, validate=True)
    assert_same(graph, before, exact=False)


@settings(BOUNDED, max_examples=50)
@given(models(), st.sampled_from(sorted(passes.PIPELINES)), st.sampled_from([17, 18, 21]))
def test_compile_proves_its_result(model, level, opset):
    """From files, through every stage, with onnxruntime at the end and translation validation between."""
    with tempfile.TemporaryDirectory() as folder:
        attrs = model.layer_attrs
        weights = generate_weights(model.json, Path(folder), rows=ROWS, layer_attrs=attrs)
        options = {"opset": opset, "validate": True, "simplify": False, "layer_attrs": attrs}
        compiled = hugectr2onnx.compile(model.json, weights, level, **options)
        assert compiled.report.parity is not None
        assert {output.name for output in compiled.report.parity.outputs} >= set(compiled.ir.outputs)


@pytest.mark.parametrize(("steps", "width"), [(2, 17), (600, 1)], ids=["wide heads", "a long sequence"])
def test_attention_with_heads_first_settles(steps, width):
    """Found by these tests: find_attention took what expand_attention had made of it for layers, and so on without end."""
    g = Growing(draw=lambda strategy: None, tensors=[Tensor("dense", Fraction(1), (steps * width,))])
    x = g.reshape(g.tensors[0], Fraction(1), steps, width)
    y = g.same("MultiHeadAttention", x, x, x, num_attention_heads=1, transpose_b=False)
    g.fc(g.same("Add", x, y), 1)
    label, dense = {"top": "label", "label_dim": 1}, {"top": "dense", "dense_dim": steps * width}
    data = {"type": "Data", "label": label, "dense": dense, "sparse": []}
    graph = imported(Model({"layers": [data, *g.layers]}, {}))
    passes.run(graph, 2, validate=True)
    assert passes.run(graph, 2) == ()
