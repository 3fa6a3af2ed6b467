"""The tutorial runs from top to bottom in an empty folder."""

from __future__ import annotations

import json
import re
import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from hugectr2onnx.cli import main

from .pages import DOCS, blocks, prose

TUTORIAL = DOCS / "tutorial.md"
NOTEBOOK = DOCS / "tutorial.ipynb"


def test_every_step_of_the_tutorial_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("pyarrow")
    monkeypatch.chdir(tmp_path)
    namespace: dict[str, Any] = {}
    steps = [(language, code) for language, _, code in blocks(TUTORIAL)]
    assert {language for language, _ in steps} == {"sh", "python"}
    # The cells of the notebook are the same steps, so running these runs the notebook.
    assert steps == list(cells(NOTEBOOK))
    for language, code in steps:
        if language == "python":
            exec(code, namespace)
        else:
            run(code)
    assert namespace["predictions"].shape == (4, 1)


def cells(notebook: Path) -> Iterator[tuple[str, str]]:
    """The code cells of a notebook as ("sh" or "python", code)."""
    for cell in json.loads(notebook.read_text(encoding="utf-8"))["cells"]:
        if cell["cell_type"] == "code":
            lines = "".join(cell["source"]).splitlines()
            language = "sh" if all(line.startswith("!") for line in lines) else "python"
            yield language, "".join(f"{line.removeprefix('!')}\n" for line in lines)


def test_the_notebook_says_what_the_tutorial_says() -> None:
    notebook = json.loads(NOTEBOOK.read_text(encoding="utf-8"))
    assert (notebook["nbformat"], notebook["metadata"]["language_info"]["name"]) == (4, "python")
    words = " ".join("".join(cell["source"]) for cell in notebook["cells"] if cell["cell_type"] == "markdown").split()
    assert words == prose(TUTORIAL).split()


def run(commands: str) -> None:
    """Each line is a call of hugectr2onnx."""
    for line in commands.splitlines():
        program, *arguments = shlex.split(line, comments=True)
        assert program == "hugectr2onnx"
        assert main(arguments) == 0, line


def test_the_files_of_the_snapshot_are_the_ones_that_the_tutorial_lists(tmp_path: Path) -> None:
    assert main(["sample", "wdl", str(tmp_path)]) == 0
    table = TUTORIAL.read_text(encoding="utf-8").partition("| file |")[2].partition("\n\n")[0]
    named = re.findall(r"^\| `([^`]*?)/?` \|", table, re.MULTILINE)
    assert sorted(named) == sorted(path.name for path in tmp_path.iterdir())
