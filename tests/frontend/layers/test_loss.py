"""The three losses and their predictions (layers 3.27)."""

from __future__ import annotations

import numpy as np
import pytest

from hugectr2onnx.errors import ShapeError

LOGITS = np.array([[-1, 0.5], [3, 3], [0, -2]], np.float32)


def loss(name, **keys):
    return {"type": name, "bottom": ["in0", "in1"], "top": "out0", **keys}


def sigmoid(x):
    return 1 / (1 + np.exp(-x))


def test_binary_cross_entropy_predicts_a_sigmoid(run_layer):
    (y,) = run_layer(loss("BinaryCrossEntropyLoss"), LOGITS[:, :1], np.zeros((3, 1), np.float32))
    np.testing.assert_allclose(y, sigmoid(LOGITS[:, :1]), rtol=1e-6)


def test_cross_entropy_predicts_a_softmax_of_two_columns(run_layer):
    (y,) = run_layer(loss("CrossEntropyLoss"), LOGITS, np.zeros((3, 1), np.float32))
    np.testing.assert_allclose(y[:, 1], sigmoid(LOGITS[:, 1] - LOGITS[:, 0]), rtol=1e-6)
    np.testing.assert_allclose(y.sum(1), 1, rtol=1e-6)


def test_multi_cross_entropy_predicts_a_sigmoid_a_column(run_layer):
    clause = loss("MultiCrossEntropyLoss", target_weight=[0.2, 0.8])
    (y,) = run_layer(clause, LOGITS, np.zeros((3, 2), np.float32))
    np.testing.assert_allclose(y, sigmoid(LOGITS), rtol=1e-6)


@pytest.mark.parametrize("columns", [1, 2, 3])
def test_a_loss_without_a_type_is_what_its_columns_allow(run_layer, columns):
    """Mixed precision has names for all but two losses (formats 1.5), and CrossEntropyLoss takes two columns only."""
    logits = np.array([[-1, 0.5, 2], [3, 3, 0], [0, -2, 1]], np.float32)[:, :columns]
    clause = {"type": "", "bottom": ["in0", "label"], "top": "out0"}
    (y,) = run_layer(clause, logits)
    expected = np.exp(logits) / np.exp(logits).sum(1, keepdims=True) if columns == 2 else sigmoid(logits)
    np.testing.assert_allclose(y, expected, rtol=1e-6)


def test_large_logits_do_not_overflow(run_layer):
    logits = np.array([[200, -200]], np.float32)
    (y,) = run_layer(loss("MultiCrossEntropyLoss"), logits, np.zeros((1, 2), np.float32))
    np.testing.assert_allclose(y, [[1, 0]], atol=1e-30)


def test_what_regularizes_training_is_ignored(run_layer):
    clause = loss("BinaryCrossEntropyLoss", regularizer="L2", **{"lambda": 0.1})
    (y,) = run_layer(clause, LOGITS[:, :1], np.zeros((3, 1), np.float32))
    np.testing.assert_allclose(y, sigmoid(LOGITS[:, :1]), rtol=1e-6)


@pytest.mark.parametrize("name, columns", [("BinaryCrossEntropyLoss", 2), ("CrossEntropyLoss", 1)])
def test_another_number_of_columns_is_refused(run_layer, name, columns):
    with pytest.raises(ShapeError, match=f"has {columns}"):
        run_layer(loss(name), LOGITS[:, :columns], np.zeros((3, 1), np.float32))


def test_three_dimensions_are_refused(run_layer):
    with pytest.raises(ShapeError, match="3 dimensions"):
        run_layer(loss("MultiCrossEntropyLoss"), LOGITS[:, None], np.zeros((3, 2), np.float32))
