from __future__ import annotations

from pathlib import Path

import pytest

from benchmarks import plots, records
from benchmarks.__main__ import main
from benchmarks.records import CandidateLine, Case, FloorLine
from hugectr2onnx.latency.figures import Ratio
from hugectr2onnx.latency.machine import caption

pytest.importorskip("matplotlib", reason="the plots need the bench extra")


def measured() -> list[CandidateLine]:
    return [
        CandidateLine(Case("wdl", "small", batch, 1), f"level {level}", 9, 9, 10, 50.0 - level, 40.0, None,
                      Ratio(1, 1, 1), Ratio(1, 1, 1), 5.0, 0.0, 1.0, {"Gemm": 0.8, "Relu": 0.2})
        for batch in (1, 64) for level in (0, 2)
    ]  # fmt: skip


def test_three_plots_are_written_as_svg_and_png_and_stay_the_same(tmp_path: Path) -> None:
    lines = measured()
    floors = [FloorLine(Case("wdl", "small", batch, 1), 30.0, 2.0, [], (), 0) for batch in (1, 64)]
    written = plots.draw(tmp_path / "a", lines, floors)
    names = [f"{plot}_threads1.{kind}" for plot in ("speedup", "latency", "operators") for kind in ("svg", "png")]
    assert [path.name for path in written] == names
    again = plots.draw(tmp_path / "b", lines, floors)
    assert [path.read_bytes() for path in written] == [path.read_bytes() for path in again]


def test_kept_measurements_can_be_drawn_again(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    about = {
        "kind": "machine",
        "cpu": "a processor",
        "cores": 2,
        "versions": {"onnxruntime": "1.32"},
        "date": "2026-11-26",
    }
    entries = [about, *(records.to_dict(line) for line in measured())]
    (tmp_path / "runtime.jsonl").write_text(records.dump(entries))
    assert main(["redraw", str(tmp_path / "runtime.jsonl"), "--out", str(tmp_path / "plots")]) == 0
    names = [Path(line).name for line in capsys.readouterr().out.splitlines()]
    assert names[::2] == ["speedup_threads1.svg", "operators_threads1.svg"], "without a floor there is no latency plot"
    assert records.lines_of(entries) == measured()


def test_a_file_without_measurements_has_nothing_to_draw(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "empty.jsonl").write_text("")
    assert main(["redraw", str(tmp_path / "empty.jsonl"), "--out", str(tmp_path)]) != 0
    assert "has nothing to draw" in capsys.readouterr().err


def test_below_a_plot_stand_processor_runtime_and_date() -> None:
    about = {"cpu": "a processor", "cores": 2, "versions": {"onnxruntime": "1.32"}, "date": "2026-11-26"}
    assert caption(about) == "a processor, 2 cores, onnxruntime 1.32, 2026-11-26"


def test_bars_of_one_model_stand_together() -> None:
    assert plots._grouped_places(["wdl", "wdl", "dcn", "dcn"]) == [0, 1, 2.55, 3.55]
