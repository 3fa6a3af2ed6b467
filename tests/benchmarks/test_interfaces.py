"""Forms of the interface, timed with next to no time: that every form answers, alike, and what is told."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from benchmarks.__main__ import main
from benchmarks.interfaces_command import CASES, FORMS


def test_keys_of_a_case_are_as_many_as_it_says() -> None:
    counts = (CASES["one slot of 1,000"].padded(4) >= 0).sum(2)
    assert (counts[0, 0], counts.sum()) == (1000, 1000 + 4 * 27 - 1)
    assert np.array_equal((CASES["3 keys"].padded(2) >= 0).sum(2), np.full((2, 26), 3))


def test_the_command_prints_a_row_for_each_case(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "interfaces.jsonl"
    assert main(["interfaces", "2 keys", "--seconds", "0.01", "--batch", "2", "--json", str(out)]) == 0
    header, _, row = capsys.readouterr().out.splitlines()
    assert [cell.strip() for cell in header.split("|")[3:-1]] == [f"{form}, µs" for form in FORMS]
    assert [cell.strip() for cell in row.split("|")[1:3]] == ["2 keys", "104"]
    (entry,) = map(json.loads, out.read_text().splitlines())
    assert list(entry["microseconds"]) == list(FORMS) and entry["machine"]["cpu"]


def test_an_unknown_case_is_an_error_that_lists_all(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["interfaces", "no keys"]) == 2
    assert "no case no keys; there are one key, 2 keys" in capsys.readouterr().err
