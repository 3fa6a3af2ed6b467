"""The tutorial runs from top to bottom in an empty folder."""

from __future__ import annotations

import re
import shlex
from pathlib import Path
from typing import Any

import pytest

from hugectr2onnx.cli import main

from .pages import DOCS, blocks

TUTORIAL = DOCS / "tutorial.md"


def test_every_step_of_the_tutorial_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    namespace: dict[str, Any] = {}
    steps = list(blocks(TUTORIAL))
    assert {language for language, _, _ in steps} == {"sh", "python"}
    for language, _, code in steps:
        if language == "python":
            exec(code, namespace)
        else:
            run(code)
    assert namespace["predictions"].shape == (4, 1)


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
