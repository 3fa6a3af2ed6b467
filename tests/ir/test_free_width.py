"""Inputs of keys whose width each request chooses."""

from __future__ import annotations

import numpy as np
import onnx
import pytest

from hugectr2onnx.backend.onnx.emitter import emit
from hugectr2onnx.backend.runtime import sessions
from hugectr2onnx.ir.feeds import FED_WIDTHS, feeds_for
from hugectr2onnx.ir.graph import Graph
from hugectr2onnx.ir.ops.lookup import Embedding, LocalizedEmbedding
from hugectr2onnx.ir.types import N, Width, i64
from hugectr2onnx.passes.lookups.choose_key_map import choose_key_map
from hugectr2onnx.tables.row_format import FORMATS, RowFormat

ROWS = 20


def model(combiner: str = "sum", format: RowFormat = FORMATS[0], width: int = 4, localized: bool = False) -> Graph:
    graph = Graph()
    keys = graph.input("c", i64(N, 3, Width(1000, "nnz_c")))
    vectors = graph.const(table(width))
    if localized:
        slots = graph.const(np.zeros(ROWS, np.int64))
        op = LocalizedEmbedding(combiner, 0.0, 1, (0, 1, 2), row_format=format)
        graph.output({"y": op(keys, graph.const(np.arange(ROWS)), vectors, slots)})
    else:
        graph.output({"y": Embedding(combiner, row_format=format)(keys, graph.const(np.arange(ROWS)), vectors)})
    return graph


def table(width: int) -> np.ndarray:
    """Every format holds these numbers exactly: a step of int8 is 1."""
    rows = np.random.default_rng(0).integers(-126, 127, (ROWS, width)).astype(np.float32)
    rows[:, 0] = 127
    return rows


def pooled(keys: np.ndarray, rows: np.ndarray, combiner: str) -> np.ndarray:
    one = np.where(((keys >= 0) & (keys < ROWS))[..., None], rows[np.clip(keys, 0, ROWS - 1)].astype(np.float64), 0)
    count = np.maximum((keys >= 0).sum(2), 1)[..., None]
    return one.sum(2) / count if combiner == "mean" else one.sum(2)


@pytest.mark.parametrize("localized", [False, True])
@pytest.mark.parametrize("strategy", [None, "direct", "label-encoder", "perfect-hash"])
@pytest.mark.parametrize("combiner", ["sum", "mean"])
@pytest.mark.parametrize("format", FORMATS)
def test_every_width_from_none_to_many(format: RowFormat, combiner: str, strategy: str | None, localized: bool) -> None:
    for vec in (1, 4):
        graph = model(combiner, format, vec, localized)
        if strategy:
            choose_key_map(graph, strategy)
        session = sessions.session(emit(graph, graph_name="g", opset=17, version="0", metadata={}))
        for width in (0, 1, 2, 8, 40):
            keys = np.random.default_rng(width).integers(-5, ROWS + 2, (5, 3, width))
            found = sessions.run(session, {"c": keys})["y"]
            np.testing.assert_allclose(found, pooled(keys, table(vec), combiner), rtol=1e-6, atol=1e-5)


def test_the_width_is_a_symbol_of_the_model() -> None:
    emitted = emit(model(), graph_name="g", opset=17, version="0", metadata={}).inline()
    assert [dim.dim_param or dim.dim_value for dim in emitted.graph.input[0].type.tensor_type.shape.dim] == [
        "N",
        3,
        "nnz_c",
    ]
    onnx.checker.check_model(emitted)
    assert str(model()).splitlines()[1] == "  %c = input() : i64[N, 3, nnz_c]"


def test_feeds_differ_in_width_and_leave_most_places_empty() -> None:
    feeds = [feeds_for(model(), batch, batch)["c"] for batch in (1, 7, 64)]
    assert len({feed.shape[2] for feed in feeds}) == 3
    assert {feed.shape[2] for feed in feeds} <= {*FED_WIDTHS}
    wide = feeds_for(model(), 64, 3)["c"]
    assert wide.shape == (64, 3, 33)
    assert 0.8 < (wide < 0).mean() < 0.98
    assert ((wide >= 0).sum(2) == 0).any() and ((wide >= 0).sum(2) > 20).any()
