"""Threads whose results come in order, and buffers that are used again."""

from __future__ import annotations

import threading
from collections.abc import Iterator

import numpy as np
import pytest

from hugectr2onnx.backend.reorder.ordered_map import BufferPool, ordered_map


def test_results_come_in_the_order_of_the_items_though_the_first_ends_last() -> None:
    second_is_done = threading.Event()

    def work(item: int) -> int:
        if item == 0:
            assert second_is_done.wait(10)
        if item == 1:
            second_is_done.set()
        return 10 * item

    assert list(ordered_map(work, range(4), threads=2)) == [0, 10, 20, 30]


def test_an_error_is_raised_where_its_result_would_have_come() -> None:
    def work(item: int) -> int:
        if item == 2:
            raise ValueError(f"item {item} is wrong")
        return item

    results = ordered_map(work, range(5), threads=2)
    assert [next(results), next(results)] == [0, 1]
    with pytest.raises(ValueError, match="item 2 is wrong"):
        next(results)


def test_no_more_items_are_begun_than_threads_and_one() -> None:
    taken: list[int] = []

    def items() -> Iterator[int]:
        for item in range(100):
            taken.append(item)
            yield item

    results = ordered_map(lambda item: item, items(), threads=2)
    assert next(results) == 0
    assert taken == [0, 1, 2]
    results.close()  # type: ignore[attr-defined]


def test_a_buffer_comes_back_only_after_it_was_given() -> None:
    pool = BufferPool((2, 3), np.dtype(np.float32))
    first, second = pool.take(), pool.take()
    assert (first.shape, first.dtype) == ((2, 3), np.float32)
    assert first is not second
    pool.give(first)
    assert pool.take() is first


def test_the_previous_buffer_is_kept_until_the_next_is_released() -> None:
    pool = BufferPool((1,), np.dtype(np.int64))
    first, second = pool.take(), pool.take()
    pool.release_previous(first)
    assert pool.take() is not first
    pool.release_previous(second)
    assert pool.take() is first
