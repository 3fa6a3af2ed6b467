"""Tables for the conversion benchmark, what is left out for want of room, and the lines and plots of a tiny run."""

from __future__ import annotations

import json
import shutil
from collections import namedtuple
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from benchmarks.__main__ import main
from benchmarks.convert import Table, bytes_needed
from benchmarks.convert_lookups import look_up
from benchmarks.convert_tables import HASH_BITS, TABLE, scattered, shuffled, write_table

BATCHES = {"1", "64", "1024"}


@settings(deadline=None, derandomize=True)
@given(st.integers(1, 3000))
def test_dense_keys_are_every_number_once(count: int) -> None:
    order = shuffled(np.arange(count, dtype=np.uint64), count)
    assert sorted(order.tolist()) == list(range(count))


def test_hashed_keys_are_all_different_and_fill_the_range() -> None:
    keys = scattered(np.arange(100_000, dtype=np.uint64), HASH_BITS)
    assert len(np.unique(keys)) == 100_000
    assert np.histogram(keys, 16, (0, 1 << HASH_BITS))[0].min() > 5_500


def test_blocks_make_one_table(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("benchmarks.convert_tables.BLOCK", 7)
    write_table({"folder": tmp_path, "rows": 20, "width": 3, "keys": "dense", "hotness": 1})
    assert sorted(np.fromfile(tmp_path / TABLE / "key", "<i8").tolist()) == list(range(20))
    assert (tmp_path / TABLE / "emb_vector").stat().st_size == 20 * 3 * 4


def test_the_room_that_a_table_needs() -> None:
    """Rows of 64 bytes: the table, copies for cp and for work, and models of 64 and 20 bytes a row with a map of 24."""
    needed = bytes_needed(Table("dense", 1000, 16), [("auto", "fp32"), ("auto", "int8")])
    assert needed == 1000 * (3 * 64 + 8 + 64 + 24 + 20 + 24) + (1 << 30)


def test_a_model_that_gives_other_rows_is_found_out(tmp_path: Path) -> None:
    """The limit of a table of the same shape, whose rows are others, passed off as a model."""
    order = {"folder": tmp_path, "width": 2, "hotness": 1, "models": {"plain": True}, "exact": ["plain"]}
    write_table({"folder": tmp_path, "rows": 20, "width": 2, "keys": "dense", "hotness": 1})
    from benchmarks.convert_lookups import _plain_gather

    (tmp_path / "plain.onnx").write_bytes(_plain_gather(20, 2, 1).replace(b"emb_vector", b"oth_vector"))
    np.zeros(40, "<f4").tofile(tmp_path / TABLE / "oth_vector")
    with pytest.raises(RuntimeError, match="plain gives other rows than those of the table"):
        look_up(order)


def run(folder: Path, *flags: str) -> list[dict[str, Any]]:
    path = folder / "lines.jsonl"
    sizes = ["--rows", "2000", "--vec", "4", "--keys", "hashed", "--repeat", "1"]
    assert main(["convert", *sizes, "--folder", str(folder), "--json", str(path), *flags]) == 0
    return [json.loads(line) for line in path.read_text().splitlines()]


def test_a_line_for_each_strategy_and_format(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("benchmarks.convert.SMALL_ROWS", 10)
    flags = ["--strategies", "plain,perfect-hash,indices,direct", "--formats", "fp32,fp16", "--hotness", "2", "--cold"]
    about, limit, *lines = run(tmp_path, *flags)
    assert (about["kind"], limit["kind"]) == ("machine", "gather")
    found = [(line["asked"], line["format"]) for line in lines]
    assert found == [(s, f) for s in ("plain", "perfect-hash", "indices") for f in ("fp32", "fp16")]
    for line in lines:
        assert line["microseconds"].keys() == line["of_gather"].keys() == BATCHES
        assert line["of_gather"]["1"] == line["microseconds"]["1"] / limit["microseconds"]["1"]
        assert line["cold"]
    sizes = {(line["asked"], line["format"]): line["file_bytes"] for line in lines}
    assert sizes["perfect-hash", "fp16"] < sizes["perfect-hash", "fp32"]
    assert [path.name for path in tmp_path.iterdir()] == ["lines.jsonl"]


def test_what_was_measured_before_is_shown_again(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("matplotlib")
    run(tmp_path)
    first = capsys.readouterr().out
    assert main(["convert", "--read", str(tmp_path / "lines.jsonl"), "--out", str(tmp_path / "out")]) == 0
    assert capsys.readouterr().out == first
    names = ["convert.jsonl", "convert.md", "lookups.png", "lookups.svg", "rates.png", "rates.svg"]
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == names
    (tmp_path / "lines.jsonl").write_text("no json")
    assert main(["convert", "--read", str(tmp_path / "lines.jsonl")]) != 0


def test_tables_without_room_are_left_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    usage = namedtuple("usage", "total used free")
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage(1 << 40, 0, 1 << 20))
    assert main(["convert", "--rows", "1e9", "--vec", "16", "--keys", "dense", "--folder", str(tmp_path)]) != 0
    said = capsys.readouterr().err
    assert "left out: 1,000,000,000 rows of 16, dense keys need 289,073,741,824 bytes" in said
    assert "has no room for any of the tables" in said
