"""The commands as a user calls them, on a tiny model; nothing here depends on how long it took."""

from __future__ import annotations

import json
import platform
import sys
from pathlib import Path

import onnx
import pytest

from benchmarks.__main__ import main

TINY = ["runtime", "gmf", "--scale", "small", "--batch", "1,5", "--threads", "1", "--seconds", "0.02", "--rounds", "2",
        "--sessions", "1", "--profile-runs", "2"]  # fmt: skip


@pytest.fixture(scope="module")
def first_run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """JSON lines of a run, and the sample that it kept."""
    folder = tmp_path_factory.mktemp("bench")
    kept = ["--json", str(folder / "run.jsonl"), "--samples", str(folder / "samples"), "--levels", "2"]
    assert main([*TINY, *kept]) == 0
    return folder


def entries(path: Path, kind: str) -> list[dict]:
    return [entry for entry in map(json.loads, path.read_text().splitlines()) if entry["kind"] == kind]


def test_every_candidate_of_every_case_has_a_line(first_run: Path) -> None:
    found = [(entry["batch"], entry["candidate"]) for entry in entries(first_run / "run.jsonl", "runtime")]
    assert found == [(1, "level 0"), (1, "level 2"), (5, "level 0"), (5, "level 2")]


def test_levels_agree_on_the_result(first_run: Path) -> None:
    assert all(entry["difference"] < 1e-4 for entry in entries(first_run / "run.jsonl", "runtime"))


def test_floor_names_its_parts_at_the_batch(first_run: Path) -> None:
    floors = entries(first_run / "run.jsonl", "floor")
    assert [floor["batch"] for floor in floors] == [1, 5]
    products = [name for name, _, _ in floors[1]["parts"] if "@" in name]
    assert products
    assert all(name.startswith("[5x") for name in products)


def test_machine_is_recorded_without_host_names_and_paths(first_run: Path) -> None:
    (about,) = entries(first_run / "run.jsonl", "machine")
    assert about["versions"].keys() >= {"onnxruntime", "numpy"}
    assert about["settings"]["spinning"] is True
    text = (first_run / "run.jsonl").read_text()
    assert str(first_run) not in text
    assert platform.node() not in {str(value) for value in about.values()}


def test_baseline_of_far_slower_ratios_passes(first_run: Path, tmp_path: Path) -> None:
    baseline = _with_ratio(first_run, tmp_path, 1e-6)
    assert main([*TINY, "--levels", "2", "--baseline", str(baseline)]) == 0


def test_baseline_of_far_better_ratios_gives_exit_code_1(
    first_run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    baseline = _with_ratio(first_run, tmp_path, 1e6)
    assert main([*TINY, "--levels", "2", "--baseline", str(baseline)]) == 1
    assert "slower: gmf (small), batch 1, threads 1, level 2" in capsys.readouterr().out


def _with_ratio(first_run: Path, folder: Path, ratio: float) -> Path:
    changed = [entry | {"ratio": {"median": ratio}} for entry in entries(first_run / "run.jsonl", "runtime")]
    path = folder / "baseline.jsonl"
    path.write_text("".join(f"{json.dumps(entry)}\n" for entry in changed))
    return path


def test_another_file_takes_part_under_its_name(first_run: Path, tmp_path: Path) -> None:
    from hugectr2onnx import compile

    sample = first_run / "samples" / "gmf"
    model = compile(sample / "gmf.json", sample, 0).model
    _rename_inputs(model)
    onnx.save(model, tmp_path / "other.onnx")
    out = tmp_path / "run.jsonl"
    assert main([*TINY, "--levels", "0", "--against", f"theirs={tmp_path / 'other.onnx'}", "--json", str(out)]) == 0
    theirs = [entry for entry in entries(out, "runtime") if entry["candidate"] == "theirs"]
    assert len(theirs) == 2
    assert all(entry["difference"] == 0 and entry["nodes"] == len(model.graph.node) for entry in theirs)


def _rename_inputs(model: onnx.ModelProto) -> None:
    """As a converter would that keeps the shapes and not the names."""
    names = {entry.name: f"their_{entry.name}" for entry in model.graph.input}
    for entry in model.graph.input:
        entry.name = names[entry.name]
    for node in model.graph.node:
        node.input[:] = [names.get(name, name) for name in node.input]


def test_a_file_with_other_weights_is_left_out_unless_asked_for(
    first_run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    from onnx import numpy_helper

    from hugectr2onnx import compile

    sample = first_run / "samples" / "gmf"
    model = compile(sample / "gmf.json", sample, 0).model
    for tensor in model.graph.initializer:
        if tensor.data_type == onnx.TensorProto.FLOAT:
            tensor.CopyFrom(numpy_helper.from_array(numpy_helper.to_array(tensor) * 2, tensor.name))
    onnx.save(model, tmp_path / "other.onnx")
    out, against = tmp_path / "run.jsonl", ["--against", f"theirs={tmp_path / 'other.onnx'}", "--json"]
    assert main([*TINY, "--levels", "0", *against, str(out)]) == 0
    assert {entry["candidate"] for entry in entries(out, "runtime")} == {"level 0"}
    assert [entry["candidate"] for entry in entries(out, "left out")] == ["theirs", "theirs"]
    printed = capsys.readouterr().out
    assert "theirs, batch 1, threads 1: computes something else than level 0, not timed: label: differs by" in printed
    assert "Nothing was measured that a target judges." in printed
    assert main([*TINY, "--levels", "0", *against, str(out), "--time-different"]) == 0
    timed = [entry for entry in entries(out, "runtime") if entry["candidate"] == "theirs"]
    assert all(entry["difference"] > 1e-3 for entry in timed)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["runtime", "nothing"], "no sample model nothing"),
        (["runtime", "gmf", "ncf", "--against", "a=b.onnx"], "needs one model"),
        (["runtime", "gmf", "--against", "b.onnx"], "expected NAME=FILE.onnx"),
        (["runtime", "gmf", "--against", f"ncf:a={__file__}"], "names ncf, which is not measured"),
        (["runtime", "gmf", "--against", "a=missing.onnx"], "files that there are not: a=missing.onnx"),
        (["runtime", "gmf", "--fail-if-slower", "x"], "--fail-if-slower x"),
        (["runtime", "gmf", "--baseline", "missing.jsonl"], "Cannot read missing.jsonl"),
        (["compile", "nothing"], "no sample model nothing"),
    ],
)
def test_what_cannot_be_run_is_said_before_anything_is_measured(
    arguments: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(arguments) == 2
    assert message in capsys.readouterr().err


def test_plots_without_matplotlib_name_the_extra(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    assert main([*TINY, "--out", str(tmp_path / "out")]) == 2
    assert "hugectr2onnx[bench]" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_compile_gives_seconds_and_memory_by_stage(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "run.jsonl"
    assert main(["compile", "gmf", "--levels", "0", "--scale", "small", "--json", str(out)]) == 0
    (entry,) = entries(out, "compile")
    assert {"read", "import", "passes", "emit", "parity"} <= {stage["name"] for stage in entry["stages"]}
    assert entry["level"] == 0
    assert entry["seconds"] > 0
    assert "| gmf" in capsys.readouterr().out
