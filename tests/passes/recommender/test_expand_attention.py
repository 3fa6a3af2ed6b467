"""expand_attention: attention and its mask in standard operators."""

from __future__ import annotations

import numpy as np
import pytest

from hugectr2onnx.ir.evaluator import evaluate
from hugectr2onnx.ir.graph import Graph
from hugectr2onnx.ir.ops.attention import Attention, MaskedSoftmax
from hugectr2onnx.ir.ops.linear import Linear
from hugectr2onnx.ir.ops.sequence_mask import SequenceMask
from hugectr2onnx.ir.types import N, f32
from hugectr2onnx.passes.recommender.expand_attention import expand_attention

RNG = np.random.default_rng(3)


def attend(
    steps=3, keys=5, width=8, heads=2, *, mask: str = "", projected: bool = False, batch=N, shared: bool = False
):
    graph = Graph("g")
    q = graph.input("q", f32(batch, steps, width))
    k, v = (graph.input(name, f32(batch, keys, width)) for name in ("k", "v"))
    if projected:
        w = graph.const(RNG.normal(size=(width, width)).astype(np.float32), "w")
        k = Linear()(k, w, graph.const(RNG.normal(size=width).astype(np.float32), "b"))
    extra = ()
    if mask == "given":
        extra = (graph.input("mask", f32(batch, 1, steps, keys)),)
    if mask == "lengths":
        lengths = (graph.input(name, f32(batch, 1)) for name in ("from", "to"))
        extra = (SequenceMask(steps, keys)(*lengths),)
    y = Attention(heads, masked=bool(mask))(q, k, v, *extra)
    graph.output({"y": y, "keys": k} if shared else {"y": y})
    return graph


def test_narrow_heads_move_their_steps_to_the_end(prove, lines):
    graph = attend()
    assert prove(graph, expand_attention) == {"expand_heads": 1}
    assert lines(graph) == [
        "%reshape = reshape(%v) {shape=[N, 5, 2, 4]} : f32[N, 5, 2, 4]",
        "%transpose = transpose(%reshape) {perm=[0, 2, 3, 1]} : f32[N, 2, 4, 5]",
        "%reshape_2 = reshape(%q) {shape=[N, 3, 2, 4]} : f32[N, 3, 2, 4]",
        "%transpose_2 = transpose(%reshape_2) {perm=[0, 2, 3, 1]} : f32[N, 2, 4, 3]",
        "%reshape_3 = reshape(%transpose_2) {shape=[2N, 4, 3]} : f32[2N, 4, 3]",
        "%transpose_3 = transpose(%reshape_3) {perm=[0, 2, 1]} : f32[2N, 3, 4]",
        "%reshape_4 = reshape(%k) {shape=[N, 5, 2, 4]} : f32[N, 5, 2, 4]",
        "%transpose_4 = transpose(%reshape_4) {perm=[0, 2, 3, 1]} : f32[N, 2, 4, 5]",
        "%reshape_5 = reshape(%transpose_4) {shape=[2N, 4, 5]} : f32[2N, 4, 5]",
        "%mat_mul = mat_mul(%transpose_3, %reshape_5) : f32[2N, 3, 5]",
        "%div = div(%mat_mul, %const) : f32[2N, 3, 5]",
        "%reshape_6 = reshape(%div) {shape=[N, 2, 3, 5]} : f32[N, 2, 3, 5]",
        "%softmax = softmax(%reshape_6) : f32[N, 2, 3, 5]",
        "%transpose_5 = transpose(%softmax) {perm=[0, 1, 3, 2]} : f32[N, 2, 5, 3]",
        "%mat_mul_2 = mat_mul(%transpose, %transpose_5) : f32[N, 2, 4, 3]",
        "%transpose_6 = transpose(%mat_mul_2) {perm=[0, 3, 1, 2]} : f32[N, 3, 2, 4]",
        "%reshape_7 = reshape(%transpose_6) {shape=[N, 3, 8]} : f32[N, 3, 8]",
    ]


@pytest.mark.parametrize(
    "size", [{"width": 64}, {"steps": 140}, {"keys": 140}], ids=["wide", "many queries", "many keys"]
)
def test_wide_heads_and_long_sequences_go_heads_first(prove, lines, size):
    graph = attend(**size)
    prove(graph, expand_attention)
    assert sum("perm=[0, 2, 1, 3]" in line for line in lines(graph)) == 3


def test_the_scale_goes_into_the_projection_of_the_keys(prove, lines):
    graph = attend(projected=True)
    weight = next(node.op.array for node in graph if node.name == "w")
    prove(graph, expand_attention)
    assert not any("div(" in line for line in lines(graph))
    (linear,) = (node for node in graph if isinstance(node.op, Linear))
    np.testing.assert_allclose(linear.inputs[1].const, weight / 2, rtol=1e-6)


def test_keys_that_somebody_else_reads_keep_their_scale(prove, lines):
    graph = attend(projected=True, shared=True)
    prove(graph, expand_attention)
    assert sum("div(" in line for line in lines(graph)) == 1


@pytest.mark.parametrize("width", [8, 64])
@pytest.mark.parametrize("batch", [N, 2])
def test_a_given_mask_is_added_once_for_all_heads(prove, lines, width, batch):
    if batch == 2:
        graph = attend(mask="given", width=width, batch=batch)
        assert expand_attention(graph) == {"expand_heads": 1, "add_the_mask": 1}
        return
    graph = attend(mask="given", width=width)
    prove(graph, expand_attention, rtol=3e-3)
    assert [line.split(" = ")[1].split("(")[0] for line in lines(graph) if "1, 3, 5]" in line] == ["sub", "mul"]


def test_a_sequence_mask_becomes_a_bias(prove, lines):
    graph = attend(mask="lengths")
    assert prove(graph, expand_attention, reach=6.0) == {"expand_heads": 1, "add_the_mask": 1}
    assert any("sequence_bias(%from, %to) {from_steps=3, to_steps=5}" in line for line in lines(graph))
    assert not any("sequence_mask" in line for line in lines(graph))


def test_rows_that_the_mask_drops_as_a_whole_attend_by_rounded_scores():
    graph = attend(mask="lengths", heads=1)
    expand_attention(graph)
    feeds = {name: RNG.normal(size=(1, s, 8)).astype(np.float32) for name, s in (("q", 3), ("k", 5), ("v", 5))}
    feeds |= {"from": np.array([[1.0]], np.float32), "to": np.array([[2.0]], np.float32)}
    scores = feeds["q"][0] @ feeds["k"][0].T / np.float32(np.sqrt(8))
    scores[1:] = (scores[1:] - np.float32(10000)) + np.float32(10000)  # in float32, as HugeCTR (layers 3.15)
    raised = np.exp(scores.astype(np.float64))
    raised[0, 2:] = 0
    expected = raised / raised.sum(1, keepdims=True) @ feeds["v"][0]
    np.testing.assert_allclose(evaluate(graph, feeds)["y"][0], expected, rtol=1e-5, atol=1e-6)


def test_a_factor_scales_the_scores(prove, lines):
    graph = Graph("g")
    x, mask = graph.input("x", f32(N, 2, 3, 4)), graph.input("mask", f32(N, 1, 1, 4))
    graph.output({"y": MaskedSoftmax(0.5)(x, mask)})
    assert prove(graph, expand_attention, rtol=3e-3) == {"add_the_mask": 1}
    assert lines(graph)[0] == "%mul = mul(%x, %const) : f32[N, 2, 3, 4]"
