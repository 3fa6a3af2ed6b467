"""Products in bytes against level 2 and onnxruntime's quantizer, with next to no time."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from benchmarks.__main__ import main
from benchmarks.precision_command import in_turn


def test_every_candidate_takes_its_turn() -> None:
    order: list[str] = []
    times = in_turn({name: lambda name=name: order.append(name) for name in "ab"}, 0.0)  # type: ignore[misc]
    assert {len(each) for each in times.values()} == {12}
    assert [name for place, name in enumerate(order) if place == 0 or order[place - 1] != name][-4:] == [*"abab"]


def test_a_row_for_each_candidate(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "p.jsonl"
    arguments = ["precision", "ncf", "--batch", "2", "--seconds", "0.01", "--scale", "small", "--json", str(out)]
    assert main(arguments) == 0
    about, *lines = map(json.loads, out.read_text().splitlines())
    assert about["saturates"] in (True, False)
    assert [line["candidate"] for line in lines[:4]] == ["level 2", "int8", "int8-row", "onnxruntime's quantizer"]
    assert lines[0]["gain"] == 1 and lines[0]["max_change"] == 0
    assert lines[1]["max_change"] == 0, "no product of the small model gains"
    assert "Geometric means over the models" in capsys.readouterr().out
