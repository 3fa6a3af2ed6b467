"""stack_heads: the heads of a query become rows, and nothing is moved."""

from __future__ import annotations

import numpy as np
import pytest

from hugectr2onnx.backend.onnx.emitter import emit
from hugectr2onnx.backend.runtime import sessions
from hugectr2onnx.ir.evaluator import evaluate
from hugectr2onnx.ir.graph import Graph
from hugectr2onnx.ir.ops.attention import Attention
from hugectr2onnx.ir.ops.elementwise import Relu
from hugectr2onnx.ir.ops.linear import Linear, MatMul
from hugectr2onnx.ir.ops.sequence_mask import SequenceMask
from hugectr2onnx.ir.ops.shape import Reshape
from hugectr2onnx.ir.types import Batch, N, f32
from hugectr2onnx.passes.recommender.stack_heads import stack_heads

PROJECTED = ("q", "k", "v")


def attend(
    steps=3, n=4, heads=2, *, projected=PROJECTED, mask="", flat=False, activation=None, scale=1.0, other="", batch=N
) -> Graph:
    """Attention over projections of %x, the names in `projected`, or of %x itself; `other` reads another sequence."""
    graph, rng = Graph("g"), np.random.default_rng(5)
    x = graph.input("x", f32(batch, steps, n))

    def project(name):
        source = graph.input("z", x.type) if name == other else x
        if name not in projected:
            return source
        w = graph.const((scale * rng.normal(size=(n, n))).astype(np.float32), f"w{name}")
        b = graph.const(rng.normal(size=n).astype(np.float32), f"b{name}")
        rows = Batch(N.factor * steps) if batch is N else batch * steps
        if not flat:
            return Linear(activation)(source, w, b)
        return Reshape(x.shape)(Linear(activation)(Reshape((rows, n))(source), w, b))

    lengths = {"": 0, "to": 1, "both": 1, "two": 2}[mask]
    given = [graph.input(f"length{i}", f32(batch, 1)) for i in range(lengths)]
    masks = []
    if given:
        masks = [SequenceMask(1, steps)(*given)] if mask == "to" else [SequenceMask(steps, steps)(given[0], given[-1])]
    graph.output({"y": Attention(heads, masked=bool(masks))(*map(project, PROJECTED), *masks)})
    return graph


def test_without_a_mask(prove, lines):
    graph = attend()
    assert prove(graph, stack_heads) == {"stack_heads_of_attention": 1}
    assert lines(graph) == [
        "%reshape = reshape(%x) {shape=[N, 3, 4]} : f32[N, 3, 4]",
        "%reshape_2 = reshape(%reshape) {shape=[3N, 4]} : f32[3N, 4]",
        "%linear = linear(%reshape_2, %const, %const_2) : f32[3N, 8]",
        "%reshape_3 = reshape(%linear) {shape=[N, 6, 4]} : f32[N, 6, 4]",
        "%transpose = transpose(%reshape) {perm=[0, 2, 1]} : f32[N, 4, 3]",
        "%mat_mul = mat_mul(%reshape_3, %transpose) : f32[N, 6, 3]",
        "%softmax = softmax(%mat_mul) : f32[N, 6, 3]",
        "%mat_mul_2 = mat_mul(%softmax, %reshape) : f32[N, 6, 4]",
        "%reshape_4 = reshape(%mat_mul_2) {shape=[3N, 8]} : f32[3N, 8]",
        "%linear_2 = linear(%reshape_4, %const_3, %const_4) : f32[3N, 4]",
        "%reshape_5 = reshape(%linear_2) {shape=[N, 3, 4]} : f32[N, 3, 4]",
    ]


def test_a_mask_by_one_length_is_two_columns_of_the_product(prove, lines):
    graph = attend(mask="both")
    assert prove(graph, stack_heads, reach=5.0, rtol=1e-5) == {"stack_heads_of_attention": 1}
    assert lines(graph)[:5] == [
        "%reshape = reshape(%x) {shape=[N, 3, 4]} : f32[N, 3, 4]",
        "%sequence_sides = sequence_sides(%length0) {steps=3, ones=True} : f32[N, 3, 3]",
        "%concat = concat(%reshape, %sequence_sides) {axis=2} : f32[N, 3, 7]",
        "%mat_mul = mat_mul(%concat, %const) : f32[N, 3, 14]",
        "%reshape_2 = reshape(%mat_mul) {shape=[N, 6, 7]} : f32[N, 6, 7]",
    ]


def test_a_mask_of_the_keys_alone(prove, lines):
    graph = attend(mask="to")
    assert prove(graph, stack_heads, reach=5.0, rtol=1e-5) == {"stack_heads_of_attention": 1}
    assert any("{steps=3, every_query=True}" in line for line in lines(graph))


@pytest.mark.parametrize("projected", [(), ("q",), ("k",), ("q", "v"), ("k", "v")], ids=str)
@pytest.mark.parametrize("mask", ["", "both"])
def test_what_is_not_projected_is_read_as_it_is(prove, projected, mask):
    assert prove(attend(projected=projected, mask=mask), stack_heads, reach=2.0, rtol=1e-5)


def test_projections_of_rows(prove):
    assert prove(attend(flat=True), stack_heads)


def test_the_formula():
    """softmax(q k^T / sqrt(d)) v in numpy, head by head; positions behind the length count for nothing."""
    graph = attend(steps=4, n=6, heads=3, mask="both")
    w = {node.name: node.op.array.astype(np.float64) for node in graph if node.name.startswith(("w", "b"))}
    stack_heads(graph)
    x = np.random.default_rng(0).normal(size=(2, 4, 6)).astype(np.float32)
    found = evaluate(graph, {"x": x, "length0": np.array([[4.0], [2.0]], np.float32)})["y"]
    for sample, length in zip(range(2), (4, 2), strict=True):
        q, k, v = (x[sample] @ w[f"w{name}"] + w[f"b{name}"] for name in "qkv")
        for head in (slice(0, 2), slice(2, 4), slice(4, 6)):
            raised = np.exp(q[:length, head] @ k[:length, head].T / np.sqrt(2))
            expected = raised / raised.sum(1, keepdims=True) @ v[:length, head]
            np.testing.assert_allclose(found[sample, :length, head], expected, rtol=1e-5, atol=1e-6)


def test_only_masked_scores_take_a_10000():
    """A query within the sequence loses nothing by a key within it, and 10000 by a key behind it; one behind it always does."""
    graph = attend(mask="both", steps=3)
    stack_heads(graph)
    scoring = next(node for node in graph if isinstance(node.op, MatMul)).inputs[1].const.reshape(7, 2, 7)
    assert (scoring[:5, :, 5:] == 0).all()
    assert (scoring[5, :, 5:] == [0, -10000]).all()
    assert (scoring[6, :, 5:] == [-10000, -10000]).all()


@pytest.mark.parametrize("mask", ["both", "to"])
def test_rows_that_are_masked_as_a_whole_are_rounded_on_onnxruntime_as_hugectr_rounds_them(mask):
    """The bias is the last term of a product, so onnxruntime adds it to the complete score (layers 3.15)."""
    graph = attend(steps=4, n=16, heads=2, mask=mask)
    w = {node.name: node.op.array.astype(np.float64) for node in graph if node.name.startswith(("w", "b"))}
    stack_heads(graph)
    model = emit(graph, graph_name="test", opset=17, version="0", metadata={})
    x = np.random.default_rng(0).normal(size=(50, 4, 16)).astype(np.float32)
    found = sessions.run(sessions.session(model), {"x": x, "length0": np.zeros((50, 1), np.float32)})["y"]
    q, k, v = ((x @ w[f"w{name}"] + w[f"b{name}"]).reshape(50, 4, 2, 8).transpose(0, 2, 1, 3) for name in "qkv")
    scores = (q @ k.swapaxes(2, 3) / np.sqrt(8)).astype(np.float32)
    raised = np.exp(((scores - np.float32(10000)) + np.float32(10000)).astype(np.float64))
    expected = (raised / raised.sum(-1, keepdims=True) @ v).transpose(0, 2, 1, 3).reshape(found.shape)
    wrong = np.abs(found - expected) > 2e-5
    assert wrong.mean() < 0.02, "more than the few scores that lie next to a tie"


@pytest.mark.parametrize(
    "graph",
    [
        attend(other="k"),
        attend(activation=Relu()),
        attend(mask="two"),
        attend(scale=1e38),
        attend(steps=20, n=64, heads=8),
        attend(steps=200, n=4, heads=2),
        attend(steps=3, n=127, heads=1, mask="both"),
    ],
    ids=[
        "another sequence",
        "an activation",
        "two lengths",
        "weights that overflow",
        "wide heads",
        "many steps",
        "a long sum",
    ],
)
def test_declines(graph):
    text = str(graph)
    assert not stack_heads(graph)
    assert str(graph) == text


def test_a_mask_that_is_given_declines():
    graph = Graph("g")
    x, mask = graph.input("x", f32(N, 3, 4)), graph.input("mask", f32(N, 1, 3, 3))
    graph.output({"y": Attention(2, masked=True)(x, x, x, mask)})
    assert not stack_heads(graph)


def test_keys_of_another_length_decline():
    graph = Graph("g")
    x, y = graph.input("x", f32(N, 3, 4)), graph.input("y", f32(N, 5, 4))
    graph.output({"y": Attention(2)(x, y, y)})
    assert not stack_heads(graph)


def test_fixed_batches():
    graph = attend(batch=2, mask="both")
    assert stack_heads(graph) == {"stack_heads_of_attention": 1}
