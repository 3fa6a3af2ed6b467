"""No verb removes or changes a file that it did not write, whatever the file is called."""

from __future__ import annotations

import os
import stat
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from hugectr2onnx.cli import VERBS

TOKEN = "0123456789abcdef"
NAMES = [
    "important.txt",
    ".important.txt.0123abcd.old",
    ".m.onnx.notes.cafecafe.new",
    "m.onnx",
    "m.onnx.data",
    "m.onnx.data-00001-of-00002",
    f"m.onnx.{TOKEN}.data",
    "m.onnx.keys.keys",
    "manifest.json",
    "m.onnx.manifest.json",
    f".hugectr2onnx-{TOKEN}.save",
    f".hugectr2onnx-{TOKEN}.0.new",
    "report.json",
    "000_imported.txt",
    "predictions.npz",
    "predictions.csv",
    "table.npz",
    "wdl.json",
    "wdl_dense_0.model",
    "wdl0_sparse_0.model/key",
    "dlrm.json",
]
QUICK = ("--no-simplify", "--no-check")
COMMANDS: dict[str, list[tuple[str, ...]]] = {
    "compile": [
        ("{graph}", "--weights", "{model}", "-o", "{folder}/m.onnx", *QUICK),
        ("{graph}", "--weights", "{model}", "-o", "{folder}/new.onnx", *QUICK, "--external-data"),
        ("{graph}", "--weights", "{model}", "-o", "{folder}/new.onnx", *QUICK, "--keys", "indices", "--manifest"),
        ("{graph}", "--weights", "{model}", "-o", "{folder}/new.onnx", *QUICK, "--report", "{folder}/report.json"),
        ("{graph}", "--weights", "{model}", "-o", "{folder}/new.onnx", *QUICK, "--dump-ir", "{folder}"),
    ],
    "check": [("{graph}", "--weights", "{model}", "-o", "{folder}/m.onnx")],
    "inspect": [("{folder}",), ("{folder}/m.onnx",)],
    "verify": [("{folder}/m.onnx", "{graph}", "--weights", "{model}")],
    "update": [("{own}", "{graph}", "--weights", "{model}", "-o", "{folder}/m.onnx")],
    "compare": [
        ("{graph}", "{own}", "--weights", "{model}", "--quick", "-o", "{folder}/compare.html"),
        ("{graph}", "{own}", "--weights", "{model}", "--quick", "-o", "{folder}/others.html"),
    ],
    "diff": [("{own}", "{own}")],
    "bisect": [("{graph}", "--weights", "{model}", "-o", "{folder}")],
    "predict": [
        ("{own}", "{data}", "-o", "{folder}/predictions.npz"),
        ("{own}", "{data}", "-o", "{folder}/predictions.csv"),
    ],
    "evaluate": [("{own}", "{data}")],
    "table": [("{model}/tiny0_sparse_100.model", "-o", "{folder}/table.npz")],
    "draw": [("{graph}", "-o", "{folder}/drawing.svg"), ("{graph}", "-o", "{folder}/important.svg")],
    "bench": [("{own}", "--batch", "1", "--threads", "1", "--seconds", "0.01")],
    "report": [
        ("{own}", "-o", "{folder}/report.json", "--no-bench"),
        ("{own}", "-o", "{folder}/others.html", "--no-bench"),
        ("{own}", "-o", "{folder}/new.html", "--no-bench"),
    ],
    "serve": [("{folder}/important.txt",)],
    "export": [
        ("triton", "{own}", "{folder}", "--name", "m.onnx"),
        ("kserve", "{own}", "{folder}"),
        ("split", "{graph}", "{folder}", "--weights", "{model}", "--store", "parquet"),
        ("versions", "{folder}"),
        ("hps", "{graph}", "{folder}", "--weights", "{model}"),
    ],
    "manifest": [("{folder}", "--verify"), ("{folder}", "--rebuild"), ("{folder}", "--clean")],
    "layers": [()],
    "sample": [("wdl", "{folder}"), ("dlrm", "{folder}")],
    "demo": [("--folder", "{folder}")],
    "completion": [("bash",)],
    "help": [("compile",)],
}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder full of files of somebody else."""
    folder = tmp_path / "folder"
    for name in NAMES:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(b"precious: " + name.encode())
    os.mkfifo(folder / "pipe.onnx")
    (folder / "others.html").write_text("<!doctype html>\n<p>precious</p>")
    (folder / "link.onnx").symlink_to("important.txt")
    return folder


def contents(folder: Path) -> dict[str, tuple[Any, ...]]:
    """Every file and link: its bytes, its time of change, which file it is."""
    found = {}
    for path in folder.rglob("*"):
        status = path.lstat()
        data = path.read_bytes() if stat.S_ISREG(status.st_mode) else os.readlink(path) if path.is_symlink() else ""
        if not path.is_dir() or path.is_symlink():
            found[str(path.relative_to(folder))] = (data, status.st_mtime_ns, status.st_ino)
    return found


def test_every_verb_is_tried() -> None:
    assert set(COMMANDS) == set(VERBS)


@pytest.mark.parametrize(
    ("verb", "arguments"), [pytest.param(verb, each, id=verb) for verb, lines in COMMANDS.items() for each in lines]
)
def test_files_of_others_stay_as_they_are(
    verb: str, arguments: tuple[str, ...], model: Any, run: Callable[..., Any], folder: Path, tmp_path: Path
) -> None:
    own, data = tmp_path / "own.onnx", tmp_path / "data.npz"
    if "{own}" in arguments:
        assert run("compile", *model.arguments, "-o", own, *QUICK).code == 0
        np.savez(
            data, dense=np.zeros((2, 2), np.float32), keys=np.zeros((2, 1, 2), np.int64), label=np.array([[0.0], [1]])
        )
    before = contents(folder)
    given = [
        each.format(folder=folder, model=model.folder, graph=model.graph, own=own, data=data) for each in arguments
    ]
    run(verb, *given)
    after = contents(folder)
    assert {name: after.get(name) for name in before} == before
