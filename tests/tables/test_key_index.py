"""From keys to rows: ranges, sorted copies, negative and repeated keys."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hugectr2onnx.tables.key_index import RangeIndex, SortedIndex, column, is_dense

MOST, LEAST = 2**63 - 1, -(2**63)


def keys(*numbers: int) -> np.ndarray:
    return np.array(numbers, np.int64)


@given(st.lists(st.one_of(st.integers(LEAST, MOST), st.integers(0, 40)), unique=True, max_size=30))
def test_the_row_of_every_key(table: list[int]) -> None:
    asked = [*table, 0, 17, -1, MOST, LEAST]
    expected = [table.index(key) if key in table and key >= 0 else -1 for key in asked]
    assert column(keys(*table)).index.rows(keys(*asked)).tolist() == expected


@given(st.lists(st.integers(0, 40), unique=True, min_size=1, max_size=30))
def test_both_indexes_agree(table: list[int]) -> None:
    asked = np.arange(-2, 45)
    found = [index.of(column(keys(*table))).rows(asked).tolist() for index in (RangeIndex, SortedIndex)]
    assert found[0] == found[1]


@pytest.mark.parametrize("table", [(3, 1, 3), (1 << 40, 5, 1 << 40)])
def test_a_key_that_stands_twice_is_noticed(table: tuple[int, ...]) -> None:
    assert not column(keys(*table)).index.unique


@pytest.mark.parametrize("table", [(), (3, 1, 2), (1 << 40, 5), (-1, -1, 5), (-1, -1, 1 << 40, 0)])
def test_negative_keys_may_stand_twice(table: tuple[int, ...]) -> None:
    assert column(keys(*table)).index.unique


def test_bounds_and_count_leave_negative_keys_out() -> None:
    known = column(keys(9, -5, 4, MOST))
    assert (known.low, known.high, known.count) == (4, MOST, 3)
    assert (column(keys(-5)).low, column(keys(-5)).high, column(keys(-5)).count) == (0, -1, 0)


def test_dense_is_up_to_four_numbers_of_the_range_for_each_key() -> None:
    assert is_dense(np.arange(0, 400_000, 4) + 10**12)
    assert not is_dense(np.arange(0, 500_000, 5))
    assert is_dense(keys(0, 65_535))
    assert not is_dense(keys(0, 65_536))


def test_the_index_is_worked_out_once() -> None:
    known = column(np.arange(10))
    assert column(known).index is known.index
