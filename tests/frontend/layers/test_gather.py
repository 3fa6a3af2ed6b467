"""Gather (layers 3.21)."""

from __future__ import annotations

import numpy as np
import pytest

from hugectr2onnx.errors import GraphJsonError, ShapeError
from hugectr2onnx.frontend.layers.gather import GatherLayer
from hugectr2onnx.ir.evaluator import evaluate
from hugectr2onnx.ir.graph import Graph
from hugectr2onnx.ir.types import N, f32

X = np.arange(12, dtype=np.float32).reshape(4, 3)


def gathered(indices, *shape):
    graph = Graph()
    graph.output({"out0": GatherLayer(indices=indices).build(graph.input("in0", f32(*shape)))})
    return graph


@pytest.mark.parametrize("rows", [4, N])
def test_rows_are_taken_in_order_with_repeats(rows):
    y = evaluate(gathered((3, 0, 3), rows, 3), {"in0": X})["out0"]
    np.testing.assert_array_equal(y, X[[3, 0, 3]])


def test_the_number_of_rows_no_longer_follows_the_batch():
    assert gathered((3, 0), N, 3).outputs["out0"].type == f32(2, 3)


def test_the_user_learns_how_large_a_batch_must_be():
    (caveat,) = GatherLayer(indices=(0, 7)).caveats()
    assert "more than 7 rows" in caveat


@pytest.mark.parametrize("indices", [(), (-1,)])
def test_an_index_counts_from_zero(indices):
    with pytest.raises(GraphJsonError, match="indices"):
        gathered(indices, N, 3)


def test_rows_that_a_fixed_batch_lacks_are_refused():
    with pytest.raises(ShapeError, match=r"positions \[4\] cannot be taken from axis 0 of f32\[4, 3\]"):
        gathered((4,), 4, 3)


def test_three_dimensions_are_refused():
    with pytest.raises(ShapeError, match=r"\[B, d\]"):
        gathered((0,), N, 3, 2)
