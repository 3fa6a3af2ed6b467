from __future__ import annotations

import pytest

from hugectr2onnx.latency import figures


def test_latency_is_taken_over_the_calls_of_all_rounds() -> None:
    found = figures.latency([[3.0, 1.0], [2.0, 100.0, 5.0]])
    assert (found.runs, found.median, found.fastest) == (5, 3.0, 1.0)


def test_p99_is_left_out_below_a_thousand_runs() -> None:
    assert figures.latency([[1.0] * 999]).p99 is None


def test_p99_of_a_thousand_runs() -> None:
    # 989 fast and 11 slow runs: the 99th percentile is a slow one.
    assert figures.latency([[1.0] * 989, [7.0] * 11]).p99 == 7.0


def test_ratio_is_taken_round_by_round_so_that_a_slow_round_cancels_out() -> None:
    found = figures.ratio([2.0, 20.0, 2.0], [1.0, 10.0, 1.0])
    assert (found.median, found.low, found.high) == (2.0, 2.0, 2.0)


def test_spread_of_a_ratio_is_its_quartiles() -> None:
    found = figures.ratio([1.0, 2.0, 3.0, 4.0, 5.0], [1.0] * 5)
    assert (found.low, found.median, found.high) == (2.0, 3.0, 4.0)


def test_median_of_every_round() -> None:
    assert figures.round_medians([[1.0, 9.0, 2.0], [4.0]]) == [2.0, 4.0]


def test_geometric_mean_lets_twice_as_fast_and_half_as_fast_cancel_out() -> None:
    assert figures.geometric_mean([2.0, 0.5]) == pytest.approx(1.0)


def test_geometric_mean_of_nothing_is_refused() -> None:
    with pytest.raises(ValueError, match=r"no values"):
        figures.geometric_mean([])
