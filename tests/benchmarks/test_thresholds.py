"""The tuned thresholds, measured with next to no time: what is proved is that every one is measured, and what is told."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from benchmarks.__main__ import main
from benchmarks.threshold_graphs import GRAPHS
from benchmarks.thresholds_command import THRESHOLDS, assumed, crossover_of, optimised, sizes_around
from hugectr2onnx.passes import cost


def test_every_threshold_has_a_graph() -> None:
    assert set(GRAPHS) == set(THRESHOLDS)


@pytest.mark.parametrize("name", THRESHOLDS)
def test_a_threshold_decides_between_two_forms_of_its_graph(name: str) -> None:
    differ = [
        size
        for size in sizes_around(name)
        if str(optimised(name, size, "below")) != str(optimised(name, size, "above"))
    ]
    assert differ, "the graph does not depend on the threshold"


def test_the_crossover_lies_between_the_sizes_where_the_faster_form_changes() -> None:
    assert crossover_of({1: 0.5, 4: 2.0, 16: 3.0}) == pytest.approx(2.0)
    assert crossover_of({1: 1.5, 4: 1.2}) is None


def test_a_threshold_is_itself_again_afterwards() -> None:
    before = cost.MIN_COLUMN_READS
    with assumed("MIN_COLUMN_READS", 1.0):
        assert cost.is_worth_transposing(1, 0)
    assert cost.MIN_COLUMN_READS is before


def test_the_command_prints_a_row_for_each(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "thresholds.jsonl"
    assert main(["thresholds", "MIN_BROADCAST*", "--seconds", "0.01", "--batch", "2", "--json", str(out)]) == 0
    header, _, row = capsys.readouterr().out.splitlines()
    assert [cell.strip() for cell in header.split("|")[1:4]] == ["threshold", "set to", "unit"]
    assert [cell.strip() for cell in row.split("|")[1:4]] == [
        "MIN_BROADCAST_REPEATS",
        "8",
        "repetitions of each column",
    ]
    (entry,) = map(json.loads, out.read_text().splitlines())
    assert list(entry["speedups"]) == ["2", "4", "8", "16", "32"]
    assert all(speedup > 0 for speedup in entry["speedups"].values())


def test_an_unknown_name_is_an_error_that_lists_all(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["thresholds", "MIN_NOTHING"]) == 2
    assert "no threshold MIN_NOTHING; there are MIN_COLUMN_READS" in capsys.readouterr().err
