"""Interaction (layers 3.13)."""

from __future__ import annotations

import numpy as np
import pytest

from hugectr2onnx.errors import ShapeError
from hugectr2onnx.frontend.layers.interaction import InteractionLayer
from hugectr2onnx.ir.graph import Graph
from hugectr2onnx.ir.types import N, f32

CLAUSE = {"type": "Interaction", "bottom": ["in0", "in1"], "top": "out0"}
MLP = np.array([[1, 2]], np.float32)
EMBEDDINGS = np.array([[[3, 4], [5, 6], [7, 8]]], np.float32)
EXPECTED = [[1, 2, 11, 17, 39, 23, 53, 83, 0]]


def test_products_below_the_diagonal_row_by_row_and_a_zero(run_layer):
    (y,) = run_layer(CLAUSE, MLP, EMBEDDINGS)
    np.testing.assert_allclose(y, EXPECTED, rtol=1e-6)


def test_a_second_top_is_no_output(run_layer):
    (y,) = run_layer({**CLAUSE, "top": ["out0", "out0_grad"]}, MLP, EMBEDDINGS)
    np.testing.assert_allclose(y, EXPECTED, rtol=1e-6)


def test_one_embedding_and_many_rows(run_layer):
    mlp, embeddings = np.array([[1, 2], [3, 4]], np.float32), np.array([[[5, 6]], [[7, 8]]], np.float32)
    (y,) = run_layer(CLAUSE, mlp, embeddings)
    np.testing.assert_array_equal(y, [[1, 2, 17, 0], [3, 4, 53, 0]])


@pytest.mark.parametrize("embeddings", [(N, 3, 5), (2, 3, 4), (N, 12), (N, 10**9, 4)])
def test_embeddings_that_do_not_fit_are_refused(embeddings):
    graph = Graph()
    with pytest.raises(ShapeError, match="interact"):
        InteractionLayer().build(graph.input("in0", f32(N, 4)), graph.input("in1", f32(*embeddings)))
