"""Requests whose offsets or lengths do not fit, each refused by the input that is at fault."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from hugectr2onnx.errors import FeedError
from hugectr2onnx.ir.given_requests import check_request, request_checks
from hugectr2onnx.ir.graph import Graph
from hugectr2onnx.ir.ops.requests import PadKeys, SplitSamples, SplitTables, csr_types
from hugectr2onnx.ir.types import DType, N, TensorType, Width, f32, i64


def csr_graph() -> Graph:
    """Dense values [N, 3] and the keys of two slots."""
    graph = Graph()
    dense = graph.input("dense", f32(N, 3))
    keys, offsets = (graph.input(n, t) for n, t in zip(("a", "a.offsets"), csr_types("a"), strict=True))
    graph.output({"keys": PadKeys(2, 2, "a")(keys, offsets), "dense_out": dense})
    return graph


def hugectr_graph() -> Graph:
    """DES of three numbers a sample, and the keys of a table of two slots and of one of one."""
    graph = Graph()
    dense = graph.input("DES", f32(Width(3, "D")))
    keys = graph.input("CATCOLUMN", i64(Width(1, "K")))
    offsets = graph.input("ROWINDEX", TensorType(DType.I32, (Width(1, "O"),)))
    parts = SplitTables((2, 1), ("a", "b"))(keys, offsets).node.results
    tops = {"a": PadKeys(2, 2, "a")(*parts[:2]), "b": PadKeys(1, 2, "b")(*parts[2:])}
    graph.output({**tops, "dense": SplitSamples(3)(dense)})
    return graph


CSR: dict[str, Any] = {"dense": np.zeros((2, 3), np.float32), "a": np.arange(4), "a.offsets": np.array([0, 1, 1, 3, 4])}
HUGECTR: dict[str, Any] = {
    "DES": np.zeros(6, np.float32),
    "CATCOLUMN": np.arange(6),
    "ROWINDEX": np.array([0, 1, 1, 3, 4, 0, 0, 2], np.int32),
}


def check(graph: Graph, feeds: dict[str, Any]) -> None:
    check_request(request_checks(graph), feeds)


def test_requests_that_fit() -> None:
    check(csr_graph(), CSR)
    check(hugectr_graph(), HUGECTR)


def test_a_model_whose_keys_are_padded_has_no_checks() -> None:
    graph = Graph()
    graph.output({"y": graph.input("x", f32(N, 3))})
    assert request_checks(graph) == ()
    check(graph, {"x": np.zeros((2, 3))})


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"a.offsets": np.array([0, 1, 1, 3])}, "input a.offsets"),
        ({"a.offsets": np.array([0, 3, 1, 3, 4])}, "input a.offsets"),
        ({"a.offsets": np.array([1, 1, 1, 3, 4])}, "input a.offsets"),
        ({"a.offsets": np.array([0, 1, 1, 3, 5])}, "input a.offsets"),
        ({"a": np.arange(4)[:3]}, "input a.offsets"),
        ({"a": np.arange(4), "a.offsets": np.array([0, 1, 4, 4])}, "give 2 for each sample and one more"),
        ({"dense": np.zeros((3, 3), np.float32)}, "input dense has 3 samples and input a.offsets has 2; give all"),
    ],
    ids=["short", "falling", "not from 0", "beyond the keys", "too few keys", "half a sample", "other batch"],
)
def test_csr_requests_that_do_not_fit(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(FeedError, match=message.replace(".", r"\.")):
        check(csr_graph(), {**CSR, **changes})


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"DES": np.zeros(7, np.float32)}, "input DES has 7 numbers, which is no multiple of 3 a sample"),
        ({"DES": np.zeros(9, np.float32)}, "input ROWINDEX has 2 samples and input DES has 3"),
        (
            {"ROWINDEX": HUGECTR["ROWINDEX"][:-1]},
            r"has 7 entries; give \(N \* 2 \+ 1\) \+ \(N \* 1 \+ 1\) for N samples",
        ),
        ({"ROWINDEX": np.array([0], np.int32)}, r"has 1 entries; give \(N \* 2 \+ 1\)"),
        ({"ROWINDEX": np.array([0, 3, 1, 3, 4, 0, 0, 2], np.int32)}, "input ROWINDEX"),
        ({"ROWINDEX": np.array([0, 1, 1, 3, 4, 1, 1, 2], np.int32)}, "input ROWINDEX"),
        ({"CATCOLUMN": np.arange(5)}, "input ROWINDEX"),
    ],
    ids=["part of a sample", "other batch", "short", "one", "falling", "not from 0", "too few keys"],
)
def test_hugectr_requests_that_do_not_fit(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(FeedError, match=message):
        check(hugectr_graph(), {**HUGECTR, **changes})
