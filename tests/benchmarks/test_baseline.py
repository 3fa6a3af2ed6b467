from __future__ import annotations

import pytest

from benchmarks.baseline import compare, parse_tolerance, slower_ones
from benchmarks.errors import BenchmarkError


def entry(ratio: float, median: float = 1.0, **changed: object) -> dict[str, object]:
    case = {"model": "wdl", "scale": "small", "batch": 64, "threads": 1, "candidate": "level 2"}
    return {"kind": "runtime", **case, **changed, "median_us": median, "ratio": {"median": ratio}}


def test_ratio_that_fell_by_more_than_the_tolerance_is_slower() -> None:
    (change,) = slower_ones(compare([entry(2.0)], [entry(1.89)]), 0.05)
    assert str(change) == "wdl (small), batch 64, threads 1, level 2: 1.89x level 0, 2.00x in the baseline"


def test_ratio_within_the_tolerance_passes() -> None:
    assert slower_ones(compare([entry(2.0)], [entry(1.91)]), 0.05) == []


def test_absolute_times_do_not_matter() -> None:
    assert slower_ones(compare([entry(2.0, median=1.0)], [entry(2.0, median=50.0)]), 0.05) == []


def test_only_what_both_have_is_compared() -> None:
    before = [entry(2.0), entry(9.0, batch=1)]
    after = [entry(2.0), entry(1.0, batch=16), {"kind": "floor"}, {"kind": "machine"}]
    assert len(compare(before, after)) == 1


def test_level_0_is_no_case_of_its_own() -> None:
    with pytest.raises(BenchmarkError, match="no case in common"):
        compare([entry(1.0, candidate="level 0")], [entry(1.0, candidate="level 0")])


def test_baseline_of_other_models_is_refused() -> None:
    with pytest.raises(BenchmarkError, match="no case in common"):
        compare([entry(2.0, model="dcn")], [entry(2.0)])


def test_line_without_its_ratio_is_named() -> None:
    with pytest.raises(BenchmarkError, match="lacks its case or ratio"):
        compare([{"kind": "runtime", "model": "wdl"}], [entry(2.0)])


@pytest.mark.parametrize(("text", "share"), [("5%", 0.05), ("0.05", 0.05), ("0%", 0.0)])
def test_tolerance_is_a_percentage_or_a_share(text: str, share: float) -> None:
    assert parse_tolerance(text) == pytest.approx(share)


@pytest.mark.parametrize("text", ["", "%", "five", "100%", "-1%", "nan"])
def test_tolerance_that_is_none_is_refused(text: str) -> None:
    with pytest.raises(BenchmarkError, match="--fail-if-slower"):
        parse_tolerance(text)
