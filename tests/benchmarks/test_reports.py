"""Lines, tables, means and targets."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from benchmarks import means, records, tables, targets
from benchmarks.errors import BenchmarkError
from benchmarks.markdown import markdown
from benchmarks.records import CandidateLine, Case, FloorLine
from hugectr2onnx.latency.figures import Ratio


def line(model: str = "wdl", candidate: str = "level 2", ratio: float = 2.0, **changed: Any) -> CandidateLine:
    batch, threads = changed.pop("batch", 64), changed.pop("threads", 1)
    values: dict[str, Any] = {
        "nodes": 15, "executed": 13, "runs": 100, "median_us": 50.0, "fastest_us": 40.0, "p99_us": None,
        "ratio": Ratio(ratio, ratio, ratio), "of_floor": Ratio(1.1, 1.0, 1.2), "above_floor_us": 5.0,
        "difference": 0.0, "compile_seconds": 1.0, "ops": {"Gemm": 0.75, "Relu": 0.25}, "slowest": [],
    }  # fmt: skip
    return CandidateLine(Case(model, "small", batch, threads), candidate, **(values | changed))


def test_columns_line_up() -> None:
    assert markdown(("a", "long"), [("value", "1")]) == "| a     | long |\n| ----- | ---- |\n| value | 1    |\n"


@pytest.mark.parametrize(("time", "text"), [(None, ""), (3.14159, "3.1"), (123.4, "123"), (12345.6, "12,346")])
def test_microseconds_have_about_three_digits(time: float | None, text: str) -> None:
    assert tables.micro(time) == text


def test_runtime_table_has_the_floor_after_its_candidates() -> None:
    floor = FloorLine(Case("wdl", "small", 64, 1), 45.0, 2.0, [("[64x3] @ [3x1]", 1, 43.0)], (), 12)
    rows = tables.runtime_table([floor, line()]).splitlines()[2:]
    cells = [[cell.strip() for cell in row.strip("|").split("|")] for row in rows]
    assert cells[0] == ["wdl", "64", "1", "level 2", "15", "13", "50.0", "", "2.00", "2.00-2.00", "1.10", "5.0",
                        "0.0e+00", "Gemm 75%, Relu 25%"]  # fmt: skip
    assert cells[1][3:7] == ["floor", "", "", "45.0"]


def test_line_as_json_is_flat_and_leaves_out_what_is_not_known() -> None:
    entry = records.to_dict(line())
    assert entry["kind"] == "runtime"
    assert (entry["model"], entry["batch"], entry["ratio"]) == ("wdl", 64, {"median": 2.0, "low": 2.0, "high": 2.0})
    assert "p99_us" not in entry


def test_lines_survive_a_file(tmp_path: Path) -> None:
    entries = [records.to_dict(line()), {"kind": "machine"}]
    records.write_text(tmp_path / "new" / "run.jsonl", records.dump(entries))
    assert records.load(tmp_path / "new" / "run.jsonl") == entries


@pytest.mark.parametrize(("text", "message"), [("{}\nnot", "line 2: not JSON"), ("[1]", "line 1: expected an object")])
def test_file_that_is_no_json_lines_is_refused(tmp_path: Path, text: str, message: str) -> None:
    (tmp_path / "run.jsonl").write_text(text)
    with pytest.raises(BenchmarkError, match=message):
        records.load(tmp_path / "run.jsonl")


def test_file_that_is_missing_is_refused(tmp_path: Path) -> None:
    with pytest.raises(BenchmarkError, match="Cannot read"):
        records.load(tmp_path / "run.jsonl")


def test_means_are_taken_over_the_models_of_a_batch() -> None:
    measured = [line("wdl", ratio=4.0), line("dcn", ratio=1.0), line("dcn", ratio=3.0, batch=1)]
    found = {(mean.candidate, mean.batch): (mean.models, mean.ratio) for mean in means.over_models(measured)}
    assert found == {("level 2", 64): (2, pytest.approx(2.0)), ("level 2", 1): (1, pytest.approx(3.0))}


def test_nothing_is_short_where_all_targets_are_met() -> None:
    assert targets.shortfalls([line(candidate="level 0", ratio=1.0), line()]) == []


def test_level_slower_than_level_0_is_short() -> None:
    found = targets.shortfalls([line(candidate="level 0", ratio=1.0, batch=16), line(ratio=0.9, batch=16)])
    assert found == ["wdl, batch 16, threads 1, level 2: 0.90x level 0"]


def test_level_slower_than_another_converter_is_short() -> None:
    found = targets.shortfalls([line(candidate="theirs", ratio=2.5), line(ratio=2.0)])
    assert found == ["wdl, batch 64, threads 1, level 2: 0.80x theirs"]


def test_distance_from_the_floor_is_judged_by_the_model() -> None:
    far = Ratio(1.5, 1.4, 1.6)
    found = targets.shortfalls([line("wdl", of_floor=far), line("din", of_floor=far)])
    assert found == ["wdl, batch 64, threads 1, level 2: 1.50x the floor, 1.2x wanted"]


def test_small_model_at_batch_1_is_judged_by_microseconds() -> None:
    small = line("wdl", batch=1, nodes=29, above_floor_us=31.0)
    large = line("wdl", batch=1, nodes=30, above_floor_us=31.0)
    assert targets.shortfalls([small, large]) == ["wdl, batch 1, threads 1, level 2: 31 µs above the floor, 30 wanted"]


def test_mean_over_the_models_is_judged_on_one_thread() -> None:
    found = targets.shortfalls([line(ratio=1.2), line(ratio=1.2, threads=2), line(ratio=1.2, batch=256)])
    assert found == ["level 2, batch 64: 1.20x level 0 over all models, 1.5x wanted"]
