"""The pages on split models and HPS run from top to bottom in an empty folder."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import Any

import pytest

from hugectr2onnx.cli import main
from tests.stores.redis_servers import cluster, redis_server

from .pages import DOCS, blocks


def run(code: str, *replaced: tuple[str, str]) -> None:
    """Each line is a call of hugectr2onnx."""
    for line in code.splitlines():
        for old, new in replaced:
            line = line.replace(old, new)
        program, *arguments = shlex.split(line)
        assert program == "hugectr2onnx"
        assert main(arguments) == 0, line


@pytest.mark.parametrize("page", ["split", "hps"])
def test_every_step_runs(page: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("pyarrow")
    monkeypatch.chdir(tmp_path)
    namespace: dict[str, Any] = {}
    steps = [(language, code) for language, title, code in blocks(DOCS / "serving" / f"{page}.md") if not title]
    assert {"sh", "python"} <= {language for language, _ in steps}
    for language, code in steps:
        if language == "python":
            exec(code, namespace)
        elif language == "sh":
            run(code)


@pytest.mark.engines
def test_the_steps_with_redis_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("redis")
    if redis_server() is None:
        pytest.skip("there is no redis-server on this machine")
    monkeypatch.chdir(tmp_path)
    (step,) = (code for _, title, code in blocks(DOCS / "serving" / "split.md") if title == "Redis")
    with cluster(tmp_path / "redis") as servers:
        run("hugectr2onnx sample wdl snapshot")
        run(step, ("127.0.0.1:7000", servers.addresses[0]))
        run("hugectr2onnx export versions split-redis")
