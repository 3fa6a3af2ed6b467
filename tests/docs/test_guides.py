"""Each guide can be followed literally: its code is written into a copy of the project, and its tests pass there."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from .pages import DOCS, ROOT, blocks, name

GUIDES = sorted(DOCS.glob("adding_a_*.md"))
COPIED = (
    "hugectr2onnx",
    "tests",
    "benchmarks",
    "docs",
    ".ci",
    "README.md",
    "CONTRIBUTING.md",
    "CHANGELOG.md",
    "pyproject.toml",
)
SKIPPED = shutil.ignore_patterns("__pycache__", "golden", "*.pyc")


@pytest.mark.slow
@pytest.mark.parametrize("guide", GUIDES, ids=name)
def test_what_the_guide_says_works(guide: Path, tmp_path: Path) -> None:
    copy(tmp_path)
    written = [(title, code) for language, title, code in blocks(guide) if title and language != "diff"]
    edits = [(title, code) for language, title, code in blocks(guide) if language == "diff"]
    assert written and edits
    for title, code in written:
        assert not (tmp_path / title).exists(), f"{title} exists already"
        (tmp_path / title).write_text(code, encoding="utf-8")
    for title, code in edits:
        edit(tmp_path / title, code)
    first = next(code for language, _, code in blocks(guide) if language == "sh").splitlines()[0]
    command = first.removeprefix("python ").split()
    assert command[:2] == ["-m", "pytest"]
    assert {title for title, _ in written if title.startswith("tests/")} <= set(command)
    environment = os.environ | {"PYTHONPATH": str(tmp_path)}
    done = subprocess.run(
        [sys.executable, *command, "-n", "0", "-p", "no:cacheprovider"],
        cwd=tmp_path, env=environment, capture_output=True, text=True,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr


def copy(folder: Path) -> None:
    for each in COPIED:
        source = ROOT / each
        if source.is_dir():
            shutil.copytree(source, folder / each, ignore=SKIPPED)
        else:
            shutil.copy(source, folder / each)


def edit(file: Path, diff: str) -> None:
    """Apply hunks separated by @@: lines with a blank before them are there already, those with + are added."""
    text = file.read_text(encoding="utf-8")
    for hunk in re.split(r"^@@\n", diff, flags=re.MULTILINE):
        lines = hunk.splitlines(keepends=True)
        before = "".join(line[1:] for line in lines if not line.startswith("+"))
        after = "".join(line[1:] for line in lines if not line.startswith("-"))
        assert text.count(before) == 1, f"{file.name} has {text.count(before)} places like this:\n{before}"
        text = text.replace(before, after)
    file.write_text(text, encoding="utf-8")
