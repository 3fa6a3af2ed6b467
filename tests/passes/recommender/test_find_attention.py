"""find_attention: HugeCTR v4.3 to v23.08 wrote attention as scores, softmax and values."""

from __future__ import annotations

import pytest

from hugectr2onnx.ir.graph import Graph
from hugectr2onnx.ir.ops.attention import MaskedSoftmax
from hugectr2onnx.ir.ops.reduce import Softmax
from hugectr2onnx.ir.ops.shape import Reshape, Transpose
from hugectr2onnx.ir.types import Batch, N, f32
from hugectr2onnx.passes.recommender.find_attention import find_attention


def layered(*, mask=True, root=2.0, factor=1.0, swap=True, flat=False, shared="", merge=(0, 2, 1, 3)) -> Graph:
    """Two heads of width 4 over 5 steps, as the importer builds generation C."""
    graph = Graph("g")
    whole = f32(Batch(N.factor * 5), 8) if flat else f32(N, 5, 8)
    q, k, v = (Reshape((N, 5, 2, 4))(graph.input(name, whole)) for name in "qkv")
    queries, values = Transpose((0, 2, 1, 3))(q), Transpose((0, 2, 1, 3))(v)
    keys = Transpose((0, 1, 3, 2))(Transpose((0, 2, 1, 3))(k)) if swap else Transpose((0, 2, 3, 1))(k)
    scores = queries @ keys
    scores = scores / root if root else scores
    extra = (graph.input("mask", f32(N, 1, 5, 5)),) if mask else ()
    weights = MaskedSoftmax(factor)(scores, *extra) if mask else Softmax()(scores)
    y = Reshape((N, 5, 8))(Transpose(merge)(weights @ values))
    graph.output({"y": y, "scores": scores} if shared == "scores" else {"y": y, "p": weights} if shared else {"y": y})
    return graph


@pytest.mark.parametrize("swap", [True, False], ids=["two transposes of the keys", "one"])
def test_it_is_found(prove, lines, swap):
    graph = layered(swap=swap)
    assert prove(graph, find_attention) == {"find_heads": 1}
    assert lines(graph) == ["%attention = attention(%q, %k, %v, %mask) {heads=2, masked=True} : f32[N, 5, 8]"]


def test_without_a_mask(prove, lines):
    graph = layered(mask=False)
    prove(graph, find_attention)
    assert lines(graph) == ["%attention = attention(%q, %k, %v) {heads=2} : f32[N, 5, 8]"]


def test_a_factor_may_be_the_scale(prove):
    assert prove(layered(root=0.0, factor=0.5), find_attention) == {"find_heads": 1}


def test_operands_that_had_been_flattened(prove, lines):
    graph = layered(flat=True)
    prove(graph, find_attention)
    assert lines(graph)[0] == "%reshape = reshape(%q) {shape=[N, 5, 8]} : f32[N, 5, 8]"
    assert lines(graph)[-1].startswith("%attention = attention(%reshape, %reshape_2, %reshape_3, %mask)")


@pytest.mark.parametrize(
    "graph",
    [
        layered(root=3.0),
        layered(root=0.0),
        layered(factor=0.5),
        layered(shared="scores"),
        layered(shared="weights"),
        layered(merge=(0, 1, 2, 3)),
    ],
    ids=[
        "another scale",
        "no scale",
        "scaled twice",
        "scores somebody reads",
        "weights somebody reads",
        "heads not merged",
    ],
)
def test_declines(graph):
    text = str(graph)
    assert not find_attention(graph)
    assert str(graph) == text
