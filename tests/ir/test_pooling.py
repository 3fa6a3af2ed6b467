"""Gathering the rows of a slot's keys and adding them up, in every form that is emitted, against numpy."""

from __future__ import annotations

import numpy as np
import pytest

from hugectr2onnx.backend.onnx.emitter import emit
from hugectr2onnx.backend.runtime import sessions
from hugectr2onnx.ir.graph import Graph
from hugectr2onnx.ir.ops.key_maps import Direct, KeyMap, LabelEncoded
from hugectr2onnx.ir.ops.lookup import Embedding
from hugectr2onnx.ir.types import N, i64
from hugectr2onnx.tables.row_format import FORMATS, INT8, RowFormat

ROWS = 9


def vectors(width: int) -> np.ndarray:
    """Rows whose numbers every format holds exactly: 127 is the largest of each, so that a step of int8 is 1."""
    table = np.random.default_rng(3).integers(-126, 127, (ROWS, width)).astype(np.float32)
    table[:, 0] = 127
    return table


def pooled(keys: np.ndarray, table: np.ndarray, combiner: str) -> np.ndarray:
    """Sums by hand: keys 0 to 8 are the rows, any other adds nothing, and a negative one is not counted."""
    result = np.zeros((*keys.shape[:2], table.shape[1]))
    for sample, slot in np.ndindex(*keys.shape[:2]):
        own = [key for key in keys[sample, slot] if key >= 0]
        total = sum((table[key].astype(np.float64) for key in own if key < ROWS), np.zeros(table.shape[1]))
        result[sample, slot] = total / max(len(own), 1) if combiner == "mean" else total
    return result


@pytest.mark.parametrize("format", FORMATS)
@pytest.mark.parametrize("apart", [False, True])
@pytest.mark.parametrize("combiner", ["sum", "mean"])
@pytest.mark.parametrize("width", [1, 6])
@pytest.mark.parametrize("hotness", [1, 2, 5])
@pytest.mark.parametrize("key_map", [Direct(0, ROWS - 1), LabelEncoded(), None])
def test_every_form(
    key_map: KeyMap | None, hotness: int, width: int, combiner: str, apart: bool, format: RowFormat
) -> None:
    graph = Graph()
    op = Embedding(combiner, key_map=key_map, row_format=format, apart=apart)
    table = vectors(width)
    keys = graph.input("k", i64(N, 2, hotness))
    graph.output({"y": op(keys, graph.const(np.arange(ROWS)), graph.const(table))})
    asked = np.random.default_rng(4).integers(-2, ROWS + 2, (7, 2, hotness))
    artifact = emit(graph, graph_name="g", opset=17, version="0", metadata={})
    found = sessions.run(sessions.session(artifact), {"k": asked})["y"]
    expected = pooled(asked, table, combiner)
    np.testing.assert_allclose(found, expected[:, :, None] if apart else expected, rtol=1e-6)


def test_bytes_that_stay_apart_have_the_axis_that_was_asked_for() -> None:
    """Fused rows are flat: only a Reshape gives [N, slot, 1, width]."""
    graph = Graph()
    op = Embedding("sum", key_map=Direct(0, ROWS - 1), row_format=INT8, apart=True)
    graph.output({"y": op(graph.input("k", i64(N, 2, 1)), graph.const(np.arange(ROWS)), graph.const(vectors(6)))})
    artifact = emit(graph, graph_name="g", opset=17, version="0", metadata={})
    found = sessions.run(sessions.session(artifact), {"k": np.zeros((3, 2, 1), np.int64)})["y"]
    assert found.shape == (3, 2, 1, 6)
