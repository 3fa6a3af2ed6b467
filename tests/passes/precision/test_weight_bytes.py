"""Weights as bytes: their errors, and sums that no processor cuts."""

from __future__ import annotations

import numpy as np
import pytest

from hugectr2onnx.backend.runtime import byte_products
from hugectr2onnx.passes.precision.weight_bytes import ANY, CPUS, VNNI, largest_pair_sum, weight_bytes

RANDOM = np.random.default_rng(3)
WEIGHTS = {
    "normal": RANDOM.normal(size=(64, 7)),
    "an odd number of rows": RANDOM.normal(size=(33, 7)),
    "all the same": np.full((8, 3), 2.0),
    "pairs that cancel": np.tile([[3.0], [-3.0]], (8, 2)),
    "one row": RANDOM.normal(size=(1, 5)),
    "a column of zeros": np.hstack([np.zeros((6, 1)), np.ones((6, 1))]),
    "tiny": np.full((4, 2), 1e-42),
    "an outlier": np.vstack([RANDOM.normal(size=(9, 2)), [[1e6, -1e6]]]),
}


@pytest.mark.parametrize("cpu", CPUS)
@pytest.mark.parametrize("weight", WEIGHTS.values(), ids=WEIGHTS)
def test_no_weight_is_off_by_more_than_half_a_step(weight, cpu):
    weight = weight.astype(np.float32)
    found = weight_bytes(weight, cpu)
    error = np.abs(weight - found.q * found.scales.astype(np.float64))
    assert (error <= found.scales * (0.5 + 1e-4)).all()
    assert found.max_error == error.max()
    assert found.rms_error == pytest.approx(np.sqrt((error**2).mean()))


@pytest.mark.parametrize("weight", WEIGHTS.values(), ids=WEIGHTS)
def test_sums_of_pairs_fit_16_bits_on_any_processor(weight):
    assert 255 * largest_pair_sum(weight_bytes(weight.astype(np.float32), ANY).q) <= 32767


def test_pairs_that_cancel_keep_all_8_bits():
    assert np.abs(weight_bytes(np.float32([[3.0], [-3.0]]), ANY).q).max() == 127
    assert np.abs(weight_bytes(np.float32([[3.0], [3.0]]), ANY).q).max() == 64


def test_vnni_has_all_8_bits():
    assert (weight_bytes(np.full((4, 2), 3, np.float32), VNNI).q == 127).all()


@pytest.mark.parametrize("number", [np.nan, np.inf])
def test_what_is_not_finite_stays_float(number):
    assert weight_bytes(np.float32([[1, number]]), ANY) is None


@pytest.mark.parametrize("weight", WEIGHTS.values(), ids=WEIGHTS)
@pytest.mark.parametrize("rows", [1, 3, 64])
def test_the_largest_bytes_give_the_right_sums_on_this_machine(weight, rows):
    """255 everywhere is what saturates 16 bits first; only the large columns of one sign come near."""
    q = weight_bytes(np.abs(weight).astype(np.float32), ANY).q
    operand = np.full((rows, len(q)), 255, np.uint8)
    np.testing.assert_array_equal(byte_products.multiplied(operand, q), operand.astype(np.int64) @ q.astype(np.int64))


def test_8_bits_are_wrong_exactly_where_the_machine_is_said_to_saturate():
    q = weight_bytes(np.full((64, 32), 3, np.float32), VNNI).q
    operand = np.full((5, 64), 255, np.uint8)
    exact = operand.astype(np.int64) @ q.astype(np.int64)
    found = byte_products.multiplied(operand, q)
    # In 16 bits a pair of 255 x 127 is 32767, not 64770.
    wanted = np.full_like(exact, 32 * 32767) if byte_products.saturates() else exact
    np.testing.assert_array_equal(found, wanted)
