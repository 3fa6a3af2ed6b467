"""Flags for tables: formats, key maps, keys to keep, shards, budgets; room on the disk; progress while saving."""

from __future__ import annotations

import argparse
import json
import shutil
from collections import namedtuple
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from hugectr2onnx.backend.runtime import sessions
from hugectr2onnx.cli.arguments import byte_count
from hugectr2onnx.cli.output import Pace
from hugectr2onnx.cli.text_table import duration

DENSE = np.array([[1.0, 2.0], [0.0, -3.0], [4.0, 0.5]], np.float32)
ROWS = np.array([[[7, 5]], [[1 << 40, -1]], [[123, 7]]], np.int64)
QUICK = ("--no-simplify",)


@pytest.mark.parametrize("flags", [("--embedding", "fp16"), ("--embedding", "emb=int8"), ("--keys", "perfect-hash")])
def test_formats_and_key_maps(flags: tuple[str, str], model: Any, run: Any, tmp_path: Path) -> None:
    """All vectors are numbers that every format holds."""
    path = tmp_path / "out.onnx"
    result = run("compile", *model.arguments, "-o", path, *flags, *QUICK)
    assert result.code == 0
    assert flags[1].removeprefix("emb=") in result.out
    found = sessions.run(sessions.open_session(path), {"dense": DENSE, "keys": ROWS})["label"]
    np.testing.assert_allclose(found, model.predict(DENSE, ROWS), rtol=1e-5)
    assert run("verify", path, "--against", *model.arguments).code == 0


def test_keys_to_keep(model: Any, run: Any, tmp_path: Path) -> None:
    path, keep = tmp_path / "out.onnx", tmp_path / "keep.npy"
    np.save(keep, np.array([5]))
    result = run("compile", *model.arguments, "-o", path, "--keep-keys", f"emb={keep}", "--json", *QUICK)
    assert result.json["report"]["stored"][0]["rows_dropped"] == 2
    found = sessions.run(sessions.open_session(path), {"dense": DENSE[:1], "keys": ROWS[:1]})["label"]
    np.testing.assert_allclose(found, model.predict(DENSE[:1], np.array([[[5, -1]]])), rtol=1e-5)
    assert run("verify", path, "--against", *model.arguments, "--keep-keys", f"emb={keep}").code == 0
    refused = run("verify", path, "--against", *model.arguments)
    assert refused.code == 3
    assert "on the command line: --keep-keys TOP=FILE" in refused.err


def test_several_files_of_keys_to_keep(model: Any, run: Any, tmp_path: Path) -> None:
    for name, key in (("a", 5), ("b", 7)):
        np.save(tmp_path / f"{name}.npy", np.array([key]))
    kept = [part for name in "ab" for part in ("--keep-keys", f"emb={tmp_path / name}.npy")]
    path = tmp_path / "out.onnx"
    assert run("compile", *model.arguments, "-o", path, *kept, "--json", *QUICK).json["report"]["tables"] == {"emb": 3}
    found = sessions.run(sessions.open_session(path), {"dense": DENSE[:1], "keys": ROWS[:1]})["label"]
    np.testing.assert_allclose(found, model.predict(DENSE[:1], ROWS[:1]), rtol=1e-5)
    assert run("verify", path, "--against", *model.arguments, *kept).code == 0


def test_row_inputs_verify(model: Any, run: Any, tmp_path: Path) -> None:
    path = tmp_path / "out.onnx"
    assert run("compile", *model.arguments, "-o", path, "--keys", "indices", *QUICK).code == 0
    assert run("verify", path, "--against", *model.arguments).code == 0


def test_a_manifest(model: Any, run: Any, tmp_path: Path) -> None:
    run("compile", *model.arguments, "-o", tmp_path / "a.onnx", "--manifest", "--shard-size", "1MB", *QUICK)
    assert "a.onnx" in json.loads((tmp_path / "manifest.json").read_text())["models"]


def test_samples_and_a_budget(model: Any, run: Any, tmp_path: Path) -> None:
    np.savez(tmp_path / "s.npz", dense=DENSE, keys=ROWS, label=np.array([[0], [1], [1]]))
    given = ("--samples", tmp_path / "s.npz", "--budget", "auc:99.9%")
    result = run("compile", *model.arguments, "-o", tmp_path / "out.onnx", *given, *QUICK)
    assert result.code == 0
    assert "AUC" in result.out
    result = run("compile", *model.arguments, "-o", tmp_path / "out.onnx", *given, "--json", *QUICK)
    trials = result.json["report"]["trials"]
    assert [trial["embedding"] for trial in trials] == ["fp32", "fp16"], "rows of one number"
    assert trials[0]["quality"]["label"]["positives"] == 2
    assert run("compile", *model.arguments, "-o", tmp_path / "out.onnx", *given[2:], *QUICK).code == 2


@pytest.mark.parametrize("flags", [("--embedding", "int4"), ("--keys", "magic"), ("--embedding", "em=fp16")])
def test_what_does_not_exist_is_2(flags: tuple[str, str], model: Any, run: Any, tmp_path: Path) -> None:
    assert run("compile", *model.arguments, "-o", tmp_path / "out.onnx", *flags, *QUICK).code == 2
    assert list(tmp_path.glob("*.onnx")) == []


def test_no_room_is_found_out_before_the_work(
    model: Any, run: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    usage = namedtuple("usage", "total used free")
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage(100, 90, 10))
    monkeypatch.setattr("hugectr2onnx.compiler.compile", None)
    result = run("compile", *model.arguments, "-o", tmp_path / "out.onnx", *QUICK)
    assert result.code == 3
    assert "the model needs 12 bytes and the disk has 10 left" in result.err
    checked = run("check", *model.arguments, "-o", tmp_path / "out.onnx")
    assert checked.code == 3
    assert "the disk has 10 left" in checked.out


def test_check_forecasts(model: Any, run: Any) -> None:
    found = run("check", *model.arguments, "--keys", "label-encoder", "--embedding", "fp16", "--json").json["forecast"]
    table = {"table": "emb", "strategy": "label-encoder", "format": "fp16", "rows": 3, "width": 1, "map_bytes": 48}
    assert found["tables"] == [{**table, "filler_rows": 0}]
    assert (found["dense_bytes"], found["table_bytes"], found["output_bytes"]) == (12, 6, 66)
    assert "forecast" in run("check", *model.arguments).out
    assert run("check", model.graph, "--json").json["forecast"] is None


# Values of flags


@pytest.mark.parametrize(
    ("text", "count"),
    [
        ("1000", 1000),
        ("500MB", 500_000_000),
        ("1.5 GB", 1_500_000_000),
        ("10M", 10_000_000),
        ("2g", 2_000_000_000),
        ("2GiB", 1 << 31),
        ("4Ki", 4096),
        ("5B", 5),
    ],
)
def test_sizes(text: str, count: int) -> None:
    assert byte_count(text) == count


@pytest.mark.parametrize("text", ["-1", "", "GB", "nan", "inf", "1e400", "many", "0", "0.5", "2iB", "2XB"])
def test_sizes_that_are_none(text: str) -> None:
    with pytest.raises(argparse.ArgumentTypeError, match="is no size"):
        byte_count(text)


# Progress


def test_bytes_a_second_and_the_time_left() -> None:
    now, said = [0.0], []
    pace = Pace(said.append, lambda: now[0])
    for now[0], done in ((2.0, 10**9), (2.1, 11 * 10**8), (4.0, 2 * 10**9)):
        pace(done, 3 * 10**9)
    assert said == [
        "writing 1.0 GB of 3.0 GB, 500.0 MB/s, 4.0 s left",
        "writing 2.0 GB of 3.0 GB, 500.0 MB/s, 2.0 s left",
    ]


@pytest.mark.parametrize(("seconds", "text"), [(0.01, "0.1 s"), (12.3, "12 s"), (150, "2 min"), (9000, "2.5 h")])
def test_durations(seconds: float, text: str) -> None:
    assert duration(seconds) == text
