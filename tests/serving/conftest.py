"""A small wide-and-deep model in each interface, rows to predict, and servers as processes that end with their test."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

import hugectr2onnx
from hugectr2onnx.cli import main
from hugectr2onnx.sample_models import write_sample

ROWS, BATCH = 1000, 64
INTERFACES = ("padded", "csr", "hugectr")


@dataclass(frozen=True)
class Served:
    """The files of a model, 1,000 rows of padded inputs, and what the session in this process predicts for them."""

    folder: Path
    inputs: dict[str, np.ndarray]
    predictions: np.ndarray

    def onnx(self, interface: str = "padded") -> Path:
        return self.folder / f"wdl_{interface}.onnx"

    def batches(self) -> Iterator[tuple[dict[str, np.ndarray], np.ndarray]]:
        for start in range(0, ROWS, BATCH):
            part = slice(start, start + BATCH)
            yield {name: array[part] for name, array in self.inputs.items()}, self.predictions[part]


@pytest.fixture(scope="session")
def wdl(tmp_path_factory: pytest.TempPathFactory) -> Served:
    folder = tmp_path_factory.mktemp("served")
    sample = write_sample("wdl", folder)
    for interface in INTERFACES:
        compiled = hugectr2onnx.compile(sample.graph, sample.weights, interface=interface)
        compiled.save(folder / f"wdl_{interface}.onnx")
    generator = np.random.default_rng(5)
    keys = [np.fromfile(path, "<i8") for path in sorted(folder.rglob("key"))]
    known = np.concatenate(keys)
    inputs = {
        "dense": generator.normal(0, 1, (ROWS, 13)).astype(np.float32),
        "wide_data": generator.choice(known, (ROWS, 2, 1)),
        "deep_data": generator.choice(known, (ROWS, 26, 1)),
    }
    session = hugectr2onnx.open_session(folder / "wdl_padded.onnx")
    parts = []
    for start in range(0, ROWS, BATCH):
        part = {name: array[start : start + BATCH] for name, array in inputs.items()}
        parts.append(session.run(None, part)[0])
    return Served(folder, inputs, np.concatenate(parts))


def as_csr(inputs: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Padded inputs of one key a slot in the interface csr."""
    found = {"dense": inputs["dense"]}
    for name in ("wide_data", "deep_data"):
        found[name] = inputs[name].reshape(-1)
        found[f"{name}.offsets"] = np.arange(inputs[name].size + 1)
    return found


def as_hugectr(inputs: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Padded inputs of one key a slot as clients of HugeCTR's inference backend send them."""
    tops = [inputs["wide_data"].reshape(-1), inputs["deep_data"].reshape(-1)]
    return {
        "DES": inputs["dense"].reshape(1, -1),
        "CATCOLUMN": np.concatenate(tops)[None],
        "ROWINDEX": np.concatenate([np.arange(len(top) + 1, dtype=np.int32) for top in tops])[None],
    }


@dataclass(frozen=True)
class Server:
    """A server that runs."""

    process: subprocess.Popen[str]
    url: str

    def get(self, path: str) -> bytes:
        with urllib.request.urlopen(f"{self.url}{path}", timeout=10) as answer:
            return bytes(answer.read())


@contextmanager
def process(*command: str, **options: Any) -> Iterator[subprocess.Popen[str]]:
    """A process of its own group, which is gone afterwards, with all that it started."""
    started = subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, start_new_session=True, **options
    )
    try:
        yield started
    finally:
        if started.poll() is None:
            started.terminate()
            try:
                started.wait(20)
            except subprocess.TimeoutExpired:
                os.killpg(started.pid, signal.SIGKILL)
                started.wait(10)
        if started.stdout is not None:
            started.stdout.close()


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str]) -> Callable[..., Any]:
    """`hugectr2onnx ...` in this process: code, standard output, standard error."""

    def call(*arguments: object) -> Any:
        code = main([str(argument) for argument in arguments])
        captured = capsys.readouterr()
        return SimpleNamespace(code=code, out=captured.out, err=captured.err)

    return call


@contextmanager
def started_server(model: Path, *arguments: str) -> Iterator[Server]:
    """`hugectr2onnx serve` as a process, on a free port."""
    with process(sys.executable, "-m", "hugectr2onnx", "serve", str(model), "--port", "0", *arguments) as started:
        assert started.stdout is not None
        line = started.stdout.readline()
        found = re.search(r"at (http://\S+?)/v2/models/", line)
        assert found is not None, line + started.stdout.read()
        wait_until_ready(f"{found[1]}/v2/health/ready")
        yield Server(started, found[1])


@pytest.fixture
def serving() -> Callable[..., Any]:
    return started_server


def wait_until_ready(url: str, seconds: float = 30) -> None:
    deadline = time.monotonic() + seconds
    while True:
        try:
            with urllib.request.urlopen(url, timeout=2):
                return
        except OSError:
            assert time.monotonic() < deadline, f"{url} was not ready after {seconds} s"
            time.sleep(0.02)
