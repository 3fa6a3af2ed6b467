"""`hugectr2onnx compile`: what it writes, what it says, what it leaves behind."""

from __future__ import annotations

import errno
import io
import json
import os
import re
import shutil
import sys
from collections import namedtuple
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest

import hugectr2onnx
from hugectr2onnx.backend.runtime import sessions
from hugectr2onnx.backend.saving.model_file import ModelFile
from hugectr2onnx.errors import ParityError

DENSE = np.array([[1.0, 2.0], [0.0, -3.0], [4.0, 0.5]], np.float32)
ROWS = np.array([[[7, 5]], [[1 << 40, -1]], [[123, 7]]], np.int64)
QUICK = ("--no-simplify",)


def predictions(path: Path) -> np.ndarray:
    return sessions.run(sessions.open_session(path), {"dense": DENSE, "keys": ROWS})["label"]


@pytest.mark.parametrize("level", range(4))
def test_every_level_computes_the_model(level: int, model: Any, run: Any, tmp_path: Path) -> None:
    path = tmp_path / "out.onnx"
    assert run("compile", *model.arguments, "-o", path, f"-O{level}", *QUICK).code == 0
    np.testing.assert_allclose(predictions(path), model.predict(DENSE, ROWS), rtol=1e-5)


def test_with_onnxsim(model: Any, run: Any, tmp_path: Path) -> None:
    path = tmp_path / "out.onnx"
    assert run("compile", *model.arguments, "-o", path).code == 0
    np.testing.assert_allclose(predictions(path), model.predict(DENSE, ROWS), rtol=1e-5)


def test_files_one_by_one(model: Any, run: Any, tmp_path: Path) -> None:
    path = tmp_path / "out.onnx"
    files = ("--dense", model.dense, "--sparse", model.table)
    assert run("compile", model.graph, *files, "-o", path, *QUICK).code == 0
    np.testing.assert_allclose(predictions(path), model.predict(DENSE, ROWS), rtol=1e-5)


def test_it_tells_what_it_did(model: Any, run: Any, tmp_path: Path) -> None:
    result = run("compile", *model.arguments, "-o", tmp_path / "out.onnx", *QUICK)
    assert result.err == ""
    for part in (
        "out.onnx:",
        "input   keys   i64[N, 1, nnz_keys]",
        "output  label  f32[N, 1]",
        "parity: passed at batches of",
    ):
        assert part in result.out


def test_json_and_report_are_the_same(model: Any, run: Any, tmp_path: Path) -> None:
    path, report = tmp_path / "out.onnx", tmp_path / "report.json"
    result = run("compile", *model.arguments, "-o", path, "--report", report, "--json", *QUICK)
    assert result.err == ""
    assert result.json == json.loads(report.read_text())
    assert result.json["model"] == str(path)
    assert result.json["bytes"] == path.stat().st_size
    assert result.json["report"]["opt_level"] == 2


def test_names_and_opset(model: Any, run: Any, tmp_path: Path) -> None:
    path = tmp_path / "out.onnx"
    run("compile", *model.arguments, "-o", path, "--graph-name", "mine", "--opset", 18, *QUICK)
    written = onnx.load(path)
    assert written.graph.name == "mine"
    assert {each.domain: each.version for each in written.opset_import}[""] == 18


def test_vectors_instead_of_keys(model: Any, run: Any, tmp_path: Path) -> None:
    path = tmp_path / "out.onnx"
    assert run("compile", *model.arguments, "-o", path, "--no-embedding", *QUICK).code == 0
    vectors = np.array([[[0.5]]], np.float32)
    answer = sessions.run(sessions.open_session(path), {"dense": DENSE[:1], "emb": vectors})["label"]
    np.testing.assert_allclose(answer, 1 / (1 + np.exp([[-(0.5 - 2.0 + 0.25 + 0.5)]])), rtol=1e-5)


def test_without_the_check(model: Any, run: Any, tmp_path: Path) -> None:
    result = run("compile", *model.arguments, "-o", tmp_path / "out.onnx", "--no-check", *QUICK)
    assert "parity: not checked" in result.out


def test_the_ir_after_each_pass(model: Any, run: Any, tmp_path: Path) -> None:
    folder = tmp_path / "new" / "ir"
    assert run("compile", *model.arguments, "-o", tmp_path / "out.onnx", "--dump-ir", folder, *QUICK).code == 0
    assert (folder / "000_imported.txt").read_text().startswith("graph @")


def test_a_warning_is_shown(model: Any, run: Any, tmp_path: Path) -> None:
    model.dense.write_bytes(np.array([np.nan, -1.0, 0.25], "<f4").tobytes())
    result = run("compile", *model.arguments, "-o", tmp_path / "out.onnx", *QUICK)
    assert result.code == 0
    assert "warning: the dense file" in result.err


def test_progress_on_a_terminal_only(model: Any, run: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    class Terminal(io.StringIO):
        def isatty(self) -> bool:
            return True

    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setattr(sys, "stderr", Terminal())
    run("compile", *model.arguments, "-o", tmp_path / "out.onnx", *QUICK)
    assert "] passes" in sys.stderr.getvalue()  # type: ignore[attr-defined]


# What goes wrong, and what it leaves


def nothing_in(folder: Path) -> bool:
    return list(folder.iterdir()) == []


@pytest.fixture
def out(tmp_path: Path) -> Path:
    folder = tmp_path / "out"
    folder.mkdir()
    return folder / "tiny.onnx"


def test_invalid_input_is_3(model: Any, run: Any, out: Path) -> None:
    model.dense.write_bytes(b"\0" * 8)
    assert run("compile", *model.arguments, "-o", out, *QUICK).code == 3
    assert nothing_in(out.parent)


def test_an_unsupported_layer_is_4(model: Any, run: Any, out: Path) -> None:
    model.change(lambda layers: layers[4].update(type="Addition"))
    result = run("compile", *model.arguments, "-o", out, *QUICK)
    assert result.code == 4
    assert "layers[4] Addition fc, wide -> logit" in result.err
    assert nothing_in(out.parent)


def test_failed_parity_is_5(model: Any, run: Any, out: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def differ(*_: object) -> None:
        raise ParityError("output 'label' differs")

    monkeypatch.setattr("hugectr2onnx.backend.runtime.parity.check", differ)
    report = out.with_name("report.json")
    assert run("compile", *model.arguments, "-o", out, "--report", report, *QUICK).code == 5
    assert nothing_in(out.parent)


@pytest.mark.parametrize("name", ["", "tiny.onnx/tiny.onnx"])
def test_a_path_that_cannot_be_written(name: str, model: Any, run: Any, out: Path) -> None:
    out.write_bytes(b"old")
    result = run("compile", *model.arguments, "-o", out.parent / name, *QUICK)
    assert result.code == 3
    assert "cannot write" in result.err
    assert out.read_bytes() == b"old"


@pytest.mark.parametrize("option", ["-o", "--report"])
def test_a_file_of_somebody_else_is_replaced_only_with_force(
    option: str, model: Any, run: Any, out: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Found out before the work."""
    other = out.with_name("other")
    arguments = ["-o", out, "--report", other] if option == "--report" else ["-o", other]
    other.write_bytes(b"precious")
    with monkeypatch.context() as patch:
        patch.setattr("hugectr2onnx.compiler.compile", None)
        result = run("compile", *model.arguments, *arguments, *QUICK)
    assert (result.code, "other: it is there already and not a file of ours" in result.err) == (3, True)
    assert other.read_bytes() == b"precious"
    assert run("compile", *model.arguments, *arguments, "--force", *QUICK).code == 0
    assert other.read_bytes() != b"precious"


def test_model_and_report_of_an_earlier_run_are_replaced(model: Any, run: Any, out: Path) -> None:
    for _ in range(2):
        assert run("compile", *model.arguments, "-o", out, "--report", out.with_name("report.json"), *QUICK).code == 0


def test_a_folder_without_permission_is_found_out_before_the_work(
    model: Any, run: Any, out: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "access", lambda *_: False)
    monkeypatch.setattr("hugectr2onnx.compiler.compile", None)
    result = run("compile", *model.arguments, "-o", out, *QUICK)
    assert result.code == 3
    assert "you may not write to its folder" in result.err


def test_an_input_is_never_overwritten(model: Any, run: Any) -> None:
    before = model.graph.read_bytes()
    for path in (model.graph, model.dense):
        result = run("compile", *model.arguments, "-o", path, *QUICK)
        assert result.code == 3
        assert "it is an input of this compilation" in result.err
    assert model.graph.read_bytes() == before


@pytest.mark.parametrize("name", ["key", "emb_vector", "slot_id"])
def test_no_file_of_a_table_is_overwritten(name: str, model: Any, run: Any) -> None:
    before = {path.name: path.read_bytes() for path in model.table.iterdir()}
    for flag in ("-o", "--report"):
        other = [] if flag == "-o" else ["-o", model.folder / "out.onnx"]
        result = run("compile", *model.arguments, flag, model.table / name, *other, *QUICK)
        assert (result.code, "it is an input of this compilation" in result.err) == (3, True)
    assert {path.name: path.read_bytes() for path in model.table.iterdir()} == before


@pytest.mark.parametrize(
    "flag", ["--samples", "--keep-keys", "--layer-attrs", "--slot-size-array", "--embedding-collection"]
)
def test_no_file_of_an_option_is_overwritten(flag: str, model: Any, run: Any, tmp_path: Path) -> None:
    given = tmp_path / "given.json"
    given.write_text("[1]" if flag == "--slot-size-array" else "{}")
    named = f"emb={given}" if flag == "--keep-keys" else given
    result = run("compile", *model.arguments, "-o", given, flag, named, *QUICK)
    assert (result.code, "it is an input of this compilation" in result.err) == (3, True)
    assert given.read_text() in ("[1]", "{}")


def test_no_dump_is_overwritten(model: Any, run: Any, tmp_path: Path) -> None:
    part = tmp_path / "dump" / "embedding_collection_0" / "weight0"
    part.parent.mkdir(parents=True)
    part.write_bytes(b"precious")
    (tmp_path / "ec.json").write_text('{"path": "dump"}')
    result = run("compile", *model.arguments, "--embedding-collection", tmp_path / "ec.json", "-o", part, *QUICK)
    assert (result.code, "it is an input of this compilation" in result.err) == (3, True)


def test_data_files_overwrite_no_input(model: Any, run: Any, tmp_path: Path) -> None:
    dense = model.dense.rename(tmp_path / "m.onnx.data")
    before = dense.read_bytes()
    files = ["--dense", dense, "--sparse", model.table]
    assert run("compile", model.graph, *files, "-o", tmp_path / "m.onnx", "--external-data", *QUICK).code == 0
    assert dense.read_bytes() == before


@pytest.mark.parametrize(
    "name",
    [
        "{}",
        "{}.0123456789abcdef.data",
        "{}.0123456789abcdef.a.keys",
        "manifest.json",
        "{}.manifest.json",
        ".hugectr2onnx-0.new",
    ],
)
def test_model_and_report_are_different_files(name: str, model: Any, run: Any, out: Path) -> None:
    report = out.with_name(name.format(out.name))
    assert run("compile", *model.arguments, "-o", out, "--report", report, *QUICK).code == 2
    assert nothing_in(out.parent)


def test_no_room_for_the_model(model: Any, run: Any, out: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    usage = namedtuple("usage", "total used free")
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage(100, 90, 10))
    result = run("compile", *model.arguments, "-o", out, *QUICK)
    assert result.code == 3
    assert "the disk has 10 left" in result.err
    assert nothing_in(out.parent)


def test_a_disk_that_fills_up(model: Any, run: Any, out: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def append(file: ModelFile, piece: bytes) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(ModelFile, "append", append)
    result = run("compile", *model.arguments, "-o", out, *QUICK)
    assert result.code == 3
    assert "No space left on device" in result.err
    assert nothing_in(out.parent)


def test_a_folder_for_the_ir_that_cannot_be_made(model: Any, run: Any, out: Path, tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")
    result = run("compile", *model.arguments, "-o", out, "--dump-ir", tmp_path / "file", *QUICK)
    assert result.code == 3
    assert "cannot create the folder" in result.err
    assert nothing_in(out.parent)


def test_wrong_usage_touches_nothing(model: Any, run: Any, out: Path) -> None:
    assert run("compile", model.graph, "-o", out).code == 2
    assert run("compile", *model.arguments, "-o", out, "--opset", "new").code == 2
    assert nothing_in(out.parent)


def test_an_opset_that_is_none(model: Any, run: Any, out: Path) -> None:
    assert run("compile", *model.arguments, "-o", out, "--opset", 3).code == 2


def test_the_library_agrees(model: Any, run: Any, out: Path) -> None:
    run("compile", *model.arguments, "-o", out, *QUICK)
    compiled = hugectr2onnx.compile(model.graph, model.folder, simplify=False)
    assert onnx.load(out) == compiled.model


def test_the_folders_of_the_output_are_made(model: Any, run: Any, tmp_path: Path) -> None:
    """Triton's layout: repository, model, version."""
    out = tmp_path / "repo" / "wdl" / "1" / "model.onnx"
    assert run("compile", *model.arguments, "-o", out, *QUICK).code == 0
    assert out.is_file()


def test_no_folder_is_made_for_a_model_that_is_refused(model: Any, run: Any, tmp_path: Path) -> None:
    out = tmp_path / "repo" / "1" / "model.onnx"
    assert run("compile", *model.arguments, "-o", out, "--embedding", "em=fp16", *QUICK).code == 2
    assert not (tmp_path / "repo").exists()


def test_a_folder_in_the_place_of_a_file(model: Any, run: Any, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    result = run("compile", *model.arguments, "-o", tmp_path / "file" / "model.onnx", *QUICK)
    assert (result.code, "file is not a folder" in result.err) == (3, True)


def test_a_manifest_replays_how_a_model_was_made(model: Any, run: Any, tmp_path: Path) -> None:
    first, again, changed = (tmp_path / folder / "m.onnx" for folder in ("a", "b", "c"))
    flags = ("--opset", 19, "--keys", "perfect-hash", "--graph-name", "mine", *QUICK)
    assert run("compile", *model.arguments, "-o", first, "--manifest", *flags).code == 0
    replay = ("--options", first.with_name("manifest.json"))
    assert run("compile", *model.arguments, "-o", again, *replay).code == 0
    assert again.read_bytes() == first.read_bytes()
    assert run("compile", *model.arguments, "-o", changed, *replay, "--opset", 20).code == 0
    assert changed.read_bytes() != first.read_bytes()


def test_the_report_says_what_was_compared(model: Any, run: Any, tmp_path: Path) -> None:
    result = run("compile", *model.arguments, "-o", tmp_path / "m.onnx")
    assert re.search(r"compared: [\d,]+ numbers of outputs and logits; \d+ layers with 3 weights", result.out)
    assert re.search(r"compared: tables: some of the \d+ keys and rows; `hugectr2onnx verify` compares all", result.out)
