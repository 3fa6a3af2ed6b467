"""fuse_attention: attention as ONNX's own operator."""

from __future__ import annotations

import numpy as np
import pytest

from hugectr2onnx import passes
from hugectr2onnx.backend.onnx.emitter import emit
from hugectr2onnx.ir.evaluator import evaluate
from hugectr2onnx.ir.graph import Graph
from hugectr2onnx.ir.ops.attention import Attention, MaskedSoftmax
from hugectr2onnx.ir.ops.sequence_mask import SequenceMask
from hugectr2onnx.ir.ops.shape import Reshape, Transpose
from hugectr2onnx.ir.types import Batch, N, f32
from hugectr2onnx.passes.recommender import fuse_attention as module
from hugectr2onnx.passes.recommender.fuse_attention import fuse_attention

pytestmark = pytest.mark.skipif(not module.is_available(), reason="the installed packages lack Attention of opset 23")


def attend(*, mask: str = "", steps=3, keys=5, width=64) -> Graph:
    """Two heads of 32 numbers."""
    graph = Graph("g")
    q, k, v = (
        graph.input(name, f32(N, length, width)) for name, length in zip("qkv", (steps, keys, keys), strict=True)
    )
    if mask == "lengths":
        extra = [SequenceMask(steps, keys)(*(graph.input(name, f32(N, 1)) for name in ("from", "to")))]
    elif mask == "one length":
        extra = [SequenceMask(1, keys)(graph.input("to", f32(N, 1)))]
    else:
        extra = [graph.input("mask", f32(N, 1, *map(int, mask.split()), keys))] if mask else []
    graph.output({"y": Attention(2, masked=bool(extra))(q, k, v, *extra)})
    return graph


def test_attention_becomes_one_operator(prove, lines):
    graph = attend()
    assert prove(graph, fuse_attention) == {"fuse_heads": 1}
    assert lines(graph) == ["%fused_attention = fused_attention(%q, %k, %v) {heads=2} : f32[N, 3, 64]"]


def test_a_given_mask_becomes_a_bias(prove, lines):
    graph = attend(mask="3")
    prove(graph, fuse_attention)
    assert lines(graph) == [
        "%sub = sub(%mask, %const) : f32[N, 1, 3, 5]",
        "%mul = mul(%sub, %const_2) : f32[N, 1, 3, 5]",
        "%fused_attention = fused_attention(%q, %k, %v, %mul) {heads=2} : f32[N, 3, 64]",
    ]


@pytest.mark.parametrize("mask", ["1", "one length"])
def test_a_mask_of_one_row_is_spread_over_the_queries(prove, lines, mask):
    graph = attend(mask=mask)
    prove(graph, fuse_attention)
    assert lines(graph)[-2].endswith(": f32[N, 1, 3, 5]")


def test_lengths_become_a_bias_without_a_mask(prove, lines):
    graph = attend(mask="lengths")
    prove(graph, fuse_attention, reach=6.0)
    assert lines(graph)[0] == (
        "%sequence_bias = sequence_bias(%from, %to) {from_steps=3, to_steps=5} : f32[N, 1, 3, 5]"
    )


def layered(*, scale: float) -> Graph:
    """Two wide heads over 5 steps, layer by layer as in HugeCTR v4.3 to v23.08."""
    graph = Graph("g")
    q, k, v = (Reshape((N, 5, 2, 32))(graph.input(name, f32(N, 5, 64))) for name in "qkv")
    scores = Transpose((0, 2, 1, 3))(q) @ Transpose((0, 2, 3, 1))(k) / scale
    weights = MaskedSoftmax()(scores, graph.input("mask", f32(N, 1, 5, 5)))
    graph.output({"y": Reshape((N, 5, 64))(Transpose((0, 2, 1, 3))(weights @ Transpose((0, 2, 1, 3))(v)))})
    return graph


def test_wide_heads_that_came_layer_by_layer(prove, lines):
    graph = layered(scale=32**0.5)
    assert prove(graph, fuse_attention) == {"find_wide_heads": 1, "fuse_heads": 1}
    assert lines(graph)[-1] == "%fused_attention = fused_attention(%q, %k, %v, %mul) {heads=2} : f32[N, 5, 64]"


@pytest.mark.parametrize("graph", [layered(scale=3.0), attend(steps=Batch(1), keys=Batch(1))], ids=["scale", "steps"])
def test_declines(graph):
    text = str(graph)
    assert not fuse_attention(graph)
    assert str(graph) == text


def test_level_3_alone_needs_a_later_opset():
    opsets = []
    for level in (2, 3):
        graph = attend(mask="3")
        passes.run(graph, level, validate=True)
        model = emit(graph, graph_name="g", opset=17, version="0", metadata={}).skeleton
        opsets.append((model.opset_import[0].version, model.ir_version))
    assert opsets == [(17, 8), (23, 11)]


def test_rows_that_the_mask_drops_as_a_whole_keep_their_own_weights():
    graph = attend(mask="3", width=4)
    before = graph.clone()
    fuse_attention(graph)
    feeds = {name: np.random.default_rng(0).normal(size=(2, 3 if name == "q" else 5, 4)) for name in "qkv"}
    feeds["mask"] = np.zeros((2, 1, 3, 5))
    np.testing.assert_allclose(evaluate(graph, feeds)["y"], evaluate(before, feeds)["y"], rtol=2e-6)


@pytest.mark.parametrize("package", ["onnx", "onnxruntime"])
def test_packages_that_lack_the_operator_leave_the_graph_as_it_was(monkeypatch, package):
    monkeypatch.setitem(module.MIN_VERSIONS, package, (99, 0))
    graph = attend()
    before = str(graph)
    assert not fuse_attention(graph)
    assert str(graph) == before


def test_a_package_of_another_name_counts_as_the_newest(monkeypatch):
    monkeypatch.setattr(module, "MIN_VERSIONS", {"no-such-package": (1, 23)})
    assert module.is_available()
