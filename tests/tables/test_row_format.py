"""A row format is one class: all that the compiler asks of it stands there."""

from __future__ import annotations

import numpy as np
import pytest

from hugectr2onnx.backend.onnx.emitter import emit
from hugectr2onnx.backend.runtime import sessions
from hugectr2onnx.ir.graph import Graph
from hugectr2onnx.ir.ops.lookup import Embedding
from hugectr2onnx.ir.types import N, i64
from hugectr2onnx.passes.lookups.choose_key_map import choose_key_map
from hugectr2onnx.tables import row_format
from hugectr2onnx.tables.row_format import FORMATS, FORMATS_BY_NAME, FP16, FP32, INT8, ONNX_FLOAT, NodeWriter, RowFormat


class Tenths(RowFormat):
    """Numbers of one digit behind the point, up to 12.7."""

    name = "tenths"
    dtype = np.dtype(np.int8)

    def encode(self, rows: np.ndarray) -> np.ndarray:
        return np.rint(rows * 10).astype(np.int8)

    def decode(self, stored: np.ndarray, scales: np.ndarray | None) -> np.ndarray:
        return np.float32(10) ** -1 * stored.astype(np.float32)

    def emit_float32(self, out: NodeWriter, stored: str, scales: str | None) -> str:
        whole = out.node("Cast", stored, to=ONNX_FLOAT)
        return out.node("Div", whole, out.const(10.0))  # type: ignore[attr-defined]


@pytest.mark.parametrize("strategy", [None, "direct", "label-encoder", "perfect-hash"])
def test_a_format_of_ones_own_is_stored_and_looked_up(strategy: str | None) -> None:
    graph = Graph()
    vectors = np.float32([[1.25, 0.1], [-3.21, 12.7], [0, 0.44]])
    op = Embedding("sum", row_format=Tenths())
    keys = graph.input("k", i64(N, 1, 2))
    graph.output({"y": op(keys, graph.const(np.array([5, 9, 6])), graph.const(vectors))})
    if strategy:
        choose_key_map(graph, strategy)
    artifact = emit(graph, graph_name="g", opset=17, version="0", metadata={})
    found = sessions.run(sessions.session(artifact), {"k": np.array([[[5, 9]], [[6, -1]], [[7, 6]]])})["y"]
    np.testing.assert_allclose(found[:, 0], [[1.2 - 3.2, 0.1 + 12.7], [0, 0.4], [0, 0.4]], rtol=1e-6)


def test_a_registered_format_can_be_asked_for_by_name(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(row_format, "FORMATS", (*FORMATS, Tenths()))
    monkeypatch.setitem(FORMATS_BY_NAME, "tenths", Tenths())  # type: ignore[arg-type]
    assert FORMATS_BY_NAME["tenths"].at_width(3) == Tenths()
    assert FORMATS_BY_NAME["tenths"].more_exact == INT8


def test_formats_are_equal_by_their_kind() -> None:
    assert (type(FP16)(), type(FP32)()) == (FP16, FP32)
    assert len({*FORMATS, *(type(each)() for each in FORMATS)}) == len(FORMATS)


def test_the_largest_format_has_none_above_it() -> None:
    assert [each.more_exact for each in FORMATS] == [FP32, FP32, FP16]
