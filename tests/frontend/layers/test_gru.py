"""GRU (layers 3.12)."""

from __future__ import annotations

import numpy as np
import pytest

from hugectr2onnx.errors import GraphJsonError, ShapeError
from hugectr2onnx.frontend.layers.gru import GRULayer
from hugectr2onnx.ir.graph import Graph
from hugectr2onnx.ir.types import Batch, N, f32

WEIGHTS = [[0.1, 0.2], [0.3, 0.4], [0.5, 0.6], [0.7], [0.8], [0.9], [0.01, 0.02, 0.03]]


def gru(hidden, batch, steps, vector):
    sizes = {"num_output": hidden, "batchsize": batch, "SeqLength": steps, "vector_size": vector}
    return {"type": "GRU", "bottom": "in0", "top": "out0", "gru_param": sizes}


def states(x, wr, wz, wn, rr, rz, rn, br, bz, bn):
    """Every hidden state [T, M, h] of x [T, M, v], one sequence and one step at a time."""
    result = np.zeros((*x.shape[:2], len(br)))
    for sequence in range(x.shape[1]):
        h = np.zeros(len(br))
        for step in range(len(x)):
            now = x[step, sequence]
            r = 1 / (1 + np.exp(-(wr @ now + rr @ h + br)))
            z = 1 / (1 + np.exp(-(wz @ now + rz @ h + bz)))
            n = np.tanh(wn @ now + r * (rn @ h) + bn)
            h = (1 - z) * n + z * h
            result[step, sequence] = h
    return result


def random_weights(hidden, vector):
    rng = np.random.default_rng(12)
    shapes = [(hidden, vector)] * 3 + [(hidden, hidden)] * 3 + [(hidden,)] * 3
    return [rng.standard_normal(shape).astype(np.float32) for shape in shapes]


def imported(layer, *shape):
    """The type of the top for a bottom of this shape."""
    graph = Graph()
    x = graph.input("in0", f32(*shape))
    weights = [graph.const(np.zeros(w.shape, np.float32)) for w in layer.weights(x.type) if w.used]
    return layer.build(x, *weights).type


def test_two_steps_by_hand(run_layer):
    x = np.array([[1, 2], [3, -1]], np.float32)
    (y,) = run_layer(gru(1, 1, 2, 2), x, weights=[*WEIGHTS, [7.0]])
    np.testing.assert_allclose(y, [[0.231018], [0.412931]], rtol=1e-5)


def test_rows_are_time_major_and_the_stored_state_is_not_read(run_layer):
    weights = random_weights(4, 5)
    x = np.random.default_rng(3).standard_normal((6, 5)).astype(np.float32)
    (y,) = run_layer(gru(4, 2, 3, 5), x, weights=[*weights, np.full(8, 1e9)])
    np.testing.assert_allclose(y, states(x.reshape(3, 2, 5), *weights).reshape(6, 4), rtol=1e-4, atol=1e-5)


def test_the_top_has_only_as_many_rows_as_the_bottom(run_layer):
    weights = random_weights(4, 5)
    x = np.random.default_rng(3).standard_normal((2, 15)).astype(np.float32)
    (y,) = run_layer(gru(4, 2, 3, 5), x, weights=[*weights, np.zeros(8)])
    np.testing.assert_allclose(y, states(x.reshape(3, 2, 5), *weights)[0], rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("dynamic", [True, False])
@pytest.mark.parametrize(
    "shape, steps, batch, vector", [((4, 6), 2, 3, 4), ((3, 8), 4, 2, 3), ((8, 3), 3, 4, 2), ((4, 3, 2), 2, 3, 4)]
)
def test_rows_that_are_no_whole_part_of_the_states(run_layer, shape, steps, batch, vector, dynamic):
    """`Y.flatten()[:rows * h]`: the top takes the first hidden states, as many as the bottom has rows."""
    weights = random_weights(5, vector)
    x = np.random.default_rng(3).standard_normal(shape).astype(np.float32)
    (y,) = run_layer(gru(5, batch, steps, vector), x, weights=[*weights, np.zeros(5 * batch)], dynamic=dynamic)
    expected = states(x.reshape(steps, batch, vector), *weights).reshape(-1, 5)[: shape[0]]
    np.testing.assert_allclose(y, expected, rtol=1e-4, atol=1e-5)


def test_the_weights_of_the_file_in_order():
    weights = GRULayer(num_output=4, batchsize=2, steps=3, vector_size=5).weights(f32(6, 5))
    assert [(weight.floats, weight.used) for weight in weights] == [(60, True), (48, True), (12, True), (8, False)]


def test_the_batch_may_be_open():
    layer = GRULayer(num_output=4, batchsize=2, steps=3, vector_size=5)
    assert imported(layer, N, 5) == f32(N, 4)
    assert imported(layer, N, 3, 5) == f32(N, 4)
    assert imported(layer, N, 16) == f32(N, 4)
    assert imported(layer, Batch(N.factor * 6), 5) == f32(Batch(N.factor * 6), 4)


@pytest.mark.parametrize("shape", [(9, 5), (7, 5), (N, 4), (1, N, 5), (N, N)])
def test_a_bottom_that_does_not_fit_is_refused(shape):
    with pytest.raises(
        ShapeError, match=r"a GRU over f32\[|two dimensions carry the batch|a dimension of 35 cannot be divided by 15"
    ):
        imported(GRULayer(num_output=4, batchsize=2, steps=3, vector_size=5), *shape)


@pytest.mark.parametrize("key", ["num_output", "batchsize", "SeqLength", "vector_size"])
def test_sizes_below_one_are_refused(run_layer, key):
    clause = gru(1, 1, 2, 2)
    clause["gru_param"][key] = 0
    with pytest.raises(GraphJsonError, match=key):
        run_layer(clause, np.zeros((2, 2), np.float32), weights=[*WEIGHTS, [0.0]])
