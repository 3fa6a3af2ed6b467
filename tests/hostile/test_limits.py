"""Limits of the system: few open files are named as such, files of absurd sizes are refused before they are read."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.hostile.conftest import NTP, Model

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="needs the limits of Linux")
LIMITED = """
import resource, sys
resource.setrlimit(getattr(resource, sys.argv[1]), (int(sys.argv[2]),) * 2)
from hugectr2onnx.cli import main
sys.exit(main(sys.argv[3:]))
"""


def limited(limit: str, value: int, *arguments: object) -> subprocess.CompletedProcess[str]:
    """The command line in a process of its own with a limit."""
    command = [sys.executable, "-c", LIMITED, limit, str(value), *map(str, arguments)]
    return subprocess.run(
        command, capture_output=True, text=True, env={**os.environ, "OMP_NUM_THREADS": "1"}, timeout=120
    )


@pytest.fixture
def graph(model: Model, tmp_path: Path) -> Path:
    path = tmp_path / "graph.json"
    path.write_text(json.dumps(model.graph))
    return path


@pytest.mark.parametrize("most", [8, 12])
def test_too_few_open_files_are_named(model: Model, graph: Path, tmp_path: Path, most: int) -> None:
    done = limited("RLIMIT_NOFILE", most, "compile", graph, "--weights", model.folder, "-o", tmp_path / "o.onnx")
    assert done.returncode == 3
    assert "Too many open files: raise the number of files that may be open (ulimit -n)" in done.stderr


@pytest.mark.parametrize("name", ["graph.json", NTP])
def test_a_json_file_of_a_gigabyte_is_not_read(model: Model, graph: Path, tmp_path: Path, name: str) -> None:
    path = graph if name == "graph.json" else model.path(name)
    os.truncate(path, 1 << 30)  # a sparse file, which takes no room
    done = limited("RLIMIT_AS", 3 << 30, "compile", graph, "--weights", model.folder, "-o", tmp_path / "o.onnx")
    assert done.returncode == 3
    assert "has 1,073,741,824 bytes, a JSON file has at most 16,777,216" in done.stderr
