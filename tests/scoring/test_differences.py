"""The histogram and the pairs that a picture of two predictions is drawn from."""

from __future__ import annotations

import numpy as np

from hugectr2onnx.scoring.differences import EDGES, MAX_PAIRS, DifferenceCounter


def test_differences_are_counted_by_decade() -> None:
    counter = DifferenceCounter("label")
    error = np.array([[0.0], [2e-9], [5e-4], [1e-3], [0.02], [7.0], [np.inf]])
    counter.add(error, np.zeros_like(error), error)
    by_bound_above = dict(zip((*EDGES, "above"), counter.result().counts, strict=True))
    counted = {bound: count for bound, count in by_bound_above.items() if count}
    assert counted == {1e-9: 1, 1e-8: 1, 1e-3: 1, 1e-2: 1, 1e-1: 1, "above": 2}


def test_pairs_stand_at_equal_distances_whatever_the_batches() -> None:
    values = np.arange(100_000, dtype=np.float64)
    whole, parts = DifferenceCounter("label"), DifferenceCounter("label")
    whole.add(values + 1, values, np.ones_like(values))
    for start in range(0, len(values), 977):
        part = values[start : start + 977]
        parts.add(part + 1, part, np.ones_like(part))
    recorded, predicted = np.array(parts.result().pairs).T
    assert MAX_PAIRS / 2 < len(recorded) <= MAX_PAIRS
    assert set(np.diff(recorded)) == {256.0}
    np.testing.assert_array_equal(predicted, recorded + 1)
    assert parts.result() == whole.result()
