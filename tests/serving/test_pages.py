"""The pages of docs/serving do what they say: their commands are run, in their order, in an empty folder."""

from __future__ import annotations

import re
import shlex
import shutil
import socket
import subprocess
import sys
import urllib.request
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from tests.docs.pages import DOCS, blocks, text

from .conftest import process, wait_until_ready

pytestmark = [pytest.mark.engines, pytest.mark.filterwarnings("ignore::Warning")]
SERVERS = ("hugectr2onnx serve", "python -m hugectr2onnx.serving.kserve_server")


class Shell:
    """Runs the code of a page; servers go on in the background, on a free port in place of the page's."""

    def __init__(self, folder: Path, stack: ExitStack) -> None:
        self.folder = folder
        self.stack = stack
        with socket.create_server(("127.0.0.1", 0)) as free:
            self.port = str(free.getsockname()[1])

    def run(self, page: Path) -> None:
        for language, _, code in blocks(page):
            code = re.sub(r"\b80[08]0\b", self.port, code)
            if language == "python":
                self.call([sys.executable, "-c", code])
            elif language == "sh" and code.startswith("curl"):
                if shutil.which("curl"):
                    assert '"outputs"' in self.call(["bash", "-c", code])
            elif language == "sh":
                for line in code.splitlines():
                    self.line(line)

    def line(self, line: str) -> None:
        words = shlex.split(line, comments=True)
        if words[0] == "tritonserver":
            return  # tests/serving/test_triton.py starts it
        command = [sys.executable, "-m", *words] if words[0] == "hugectr2onnx" else [sys.executable, *words[1:]]
        if line.startswith(SERVERS):
            self.stack.enter_context(process(*command, cwd=self.folder))
            wait_until_ready(f"http://127.0.0.1:{self.port}/v2/health/ready", 60)
        else:
            self.call(command)

    def call(self, command: list[str]) -> str:
        done = subprocess.run(command, cwd=self.folder, capture_output=True, text=True, check=False, timeout=120)
        assert done.returncode == 0, f"{command}\n{done.stdout}{done.stderr}"
        return done.stdout


def compile_wdl(shell: Shell) -> None:
    """What docs/serving/serve.md begins with."""
    shell.line("hugectr2onnx sample wdl snapshots/")
    shell.line("hugectr2onnx compile snapshots/wdl.json --weights snapshots/ -o wdl.onnx")


@pytest.mark.parametrize("page", ["serve", "triton", "kserve", "gpu"])
def test_a_page_does_what_it_says(page: str, tmp_path: Path) -> None:
    needed = {"serve": ("starlette", "tritonclient.http"), "kserve": ("kserve",)}
    for module in needed.get(page, ()):
        pytest.importorskip(module)
    with ExitStack() as stack:
        shell = Shell(tmp_path, stack)
        if page != "serve":
            compile_wdl(shell)
        shell.run(DOCS / "serving" / f"{page}.md")


def test_every_metric_of_the_page_is_shown(wdl: Any, serving: Any) -> None:
    pytest.importorskip("starlette")
    table = re.findall(r"^\| (`[^|]+) \|", text(DOCS / "serving/monitoring.md"), re.MULTILINE)
    named = {name for cell in table for name in re.findall(r"`(\w+)`", cell.partition(" by ")[0])}
    with serving(wdl.onnx()) as server, urllib.request.urlopen(f"{server.url}/metrics", timeout=5) as answer:
        shown = set(re.findall(r"^# TYPE hugectr2onnx_(\w+) ", answer.read().decode(), re.MULTILINE))
    assert named == {name for name in shown if not name.endswith("_created")}
