"""Look-ups behind which a Reshape comes anyhow."""

from __future__ import annotations

import numpy as np
import pytest

from hugectr2onnx.ir.ops.elementwise import Relu
from hugectr2onnx.ir.ops.key_maps import Direct
from hugectr2onnx.ir.ops.lookup import Embedding
from hugectr2onnx.ir.ops.shape import Reshape
from hugectr2onnx.ir.ops.split import Split
from hugectr2onnx.ir.types import N, i64
from hugectr2onnx.passes.lookups.shape_lookups import shape_lookups
from hugectr2onnx.tables.row_format import FP32, INT8


def looked_up(graph, *, hotness=1, width=3, combiner="sum", row_format=FP32):
    keys = graph.input("keys", i64(N, 2, hotness))
    table = graph.const(np.random.default_rng(1).normal(size=(9, width)).astype(np.float32), "vectors")
    return Embedding(combiner, key_map=Direct(0, 8), row_format=row_format)(
        keys, graph.const(np.arange(9), "table_keys"), table
    )


def test_a_reshape_takes_the_axis_away(graph, apply_pass):
    graph.output({"y": Reshape((N, 6))(looked_up(graph))})
    assert apply_pass(graph, shape_lookups).splitlines()[1:] == [
        "%embedding = embedding(%keys, %table_keys, %vectors) {combiner=sum, key_map=direct[0, 8], apart=True}"
        " : f32[N, 2, 1, 3]",
        "%reshape = reshape(%embedding) {shape=[N, 6]} : f32[N, 6]",
        "return y=%reshape",
    ]


def test_vectors_that_are_split_first(graph, apply_pass):
    a, b = Split(2, (2, 1))(looked_up(graph)).node.results
    graph.output({"a": Reshape((N, 4))(a), "b": Reshape((N, 2))(b)})
    assert apply_pass(graph, shape_lookups).splitlines()[2:5] == [
        "%split, %split_2 = split(%embedding) {axis=3, sizes=[2, 1]} : f32[N, 2, 1, 2], f32[N, 2, 1, 1]",
        "%reshape = reshape(%split) {shape=[N, 4]} : f32[N, 4]",
        "%reshape_2 = reshape(%split_2) {shape=[N, 2]} : f32[N, 2]",
    ]


@pytest.mark.parametrize(("hotness", "combiner"), [(1, "mean"), (2, "sum")])
def test_other_forms_without_a_reshape(graph, apply_pass, hotness, combiner):
    graph.output({"y": Reshape((N, 6))(looked_up(graph, hotness=hotness, combiner=combiner))})
    assert "apart=True" in apply_pass(graph, shape_lookups)


@pytest.mark.parametrize(
    "build",
    [
        lambda graph: Relu()(looked_up(graph)),
        lambda graph: Reshape((N, 2))(looked_up(graph, width=1)),
        lambda graph: Reshape((N, 6))(looked_up(graph, row_format=INT8)),
        lambda graph: Reshape((N, 6))(looked_up(graph, hotness=9)),
        lambda graph: Reshape((N, 6))(looked_up(graph, hotness=2, combiner="mean")),
        lambda graph: Reshape((N, 4))(Relu()(Split(2, (2, 1))(looked_up(graph)))),
        lambda graph: Reshape((N, 3))(Split(1, (1, 1))(looked_up(graph))),
    ],
    ids=["no reshape", "numbers", "int8", "many keys", "mean of keys", "split and used", "split by slot"],
)
def test_declines(build, graph):
    graph.output({"y": build(graph)})
    assert not shape_lookups(graph)


def test_declines_where_something_else_reads_the_vectors(graph):
    pooled = looked_up(graph)
    graph.output({"y": Reshape((N, 6))(pooled), "z": Relu()(pooled)})
    assert not shape_lookups(graph)
