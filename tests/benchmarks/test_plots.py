from __future__ import annotations

from pathlib import Path

import pytest

from benchmarks import plots
from benchmarks.records import CandidateLine, Case, FloorLine
from benchmarks.summary import Ratio

pytest.importorskip("matplotlib", reason="the plots need the bench extra")


def test_both_plots_are_written_as_svg_and_png_and_stay_the_same(tmp_path: Path) -> None:
    lines = [
        CandidateLine(Case("wdl", "small", batch, 1), f"level {level}", 9, 9, 10, 50.0 - level, 40.0, None,
                      Ratio(1, 1, 1), Ratio(1, 1, 1), 5.0, 0.0, 1.0, {"Gemm": 0.8, "Relu": 0.2})
        for batch in (1, 64) for level in (0, 2)
    ]  # fmt: skip
    floors = [FloorLine(Case("wdl", "small", batch, 1), 30.0, 2.0, [], (), 0) for batch in (1, 64)]
    written = plots.draw(tmp_path / "a", lines, floors)
    names = ["latency_threads1.svg", "latency_threads1.png", "operators_threads1.svg", "operators_threads1.png"]
    assert [path.name for path in written] == names
    again = plots.draw(tmp_path / "b", lines, floors)
    assert [path.read_bytes() for path in written] == [path.read_bytes() for path in again]
