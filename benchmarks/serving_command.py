"""Run `serving`: what a server adds to a session's time, how it bears a long load, how soon it is back after `kill -9`.

Everything is asked over the loopback, with bounds on time and number.
"""

from __future__ import annotations

import argparse
import os
import re
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from hugectr2onnx.latency import machine
from hugectr2onnx.serving.load import LoadFigures, measure_server
from hugectr2onnx.serving.served_model import ServedModel

BATCH = 64
CLIENTS = 8
SHARE = 0.7
MAX_ADDED, MAX_GROWTH, MAX_TAIL, MAX_RESTART = 0.002, 0.05, 5.0, 3.0
"""Seconds; share of memory; p99 by p50; seconds."""


def add_arguments(verb: argparse.ArgumentParser) -> None:
    """The flags of the verb."""
    verb.add_argument("--minutes", type=float, default=10.0, help="of the soak (10)")
    verb.add_argument("--seconds", type=float, default=5.0, help="of each other measurement (5)")
    verb.add_argument(
        "--rows", type=int, default=15_000_000, help="of the tables of the model that is killed (15000000)"
    )
    verb.add_argument("--url", help="measure only the added time of a server that runs, such as Triton's")


def run(arguments: argparse.Namespace) -> int:
    """Measure, print. Returns 1 where a target is missed."""
    import hugectr2onnx
    from hugectr2onnx.sample_models import write_sample

    about = machine.describe()
    print(f"{about['cpu']}, {about['cores']} cores, load {about['load']} at the start")
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        sample = write_sample("wdl", folder / "wdl", scale="realistic")
        hugectr2onnx.compile(sample.graph, sample.weights).save(folder / "wdl.onnx", external=True)
        model = ServedModel(folder / "wdl.onnx")
        batches = [_batch(model, seed) for seed in range(16)]
        if arguments.url:
            return int(not _added(arguments.url, model, batches, arguments.seconds))
        with _server(folder / "wdl.onnx") as (process, url):
            good = _added(url, model, batches, arguments.seconds)
            good &= _soak(url, process.pid, batches, arguments)
        large = write_sample("wdl", folder / "large", scale="realistic", rows=arguments.rows)
        hugectr2onnx.compile(large.graph, large.weights).save(folder / "large.onnx", external=True)
        good &= _restart(folder / "large.onnx")
    return int(not good)


def _batch(model: ServedModel, seed: int) -> dict[str, Any]:
    generator = np.random.default_rng(seed)
    found: dict[str, Any] = {}
    for form in model.inputs:
        shape = (BATCH, *form.shape[1:])
        is_keys = form.datatype == "INT64"
        found[form.name] = (
            generator.integers(0, 10_000, shape) if is_keys else generator.normal(0, 1, shape).astype(np.float32)
        )
    return found


def _added(url: str, model: ServedModel, batches: list[dict[str, Any]], seconds: float) -> bool:
    """The server's time beside the session's, in turn."""
    session: list[float] = []
    served: list[float] = []
    for _ in range(5):
        end = time.perf_counter() + seconds / 5
        while time.perf_counter() < end:
            begin = time.perf_counter()
            model.predict(batches[len(session) % len(batches)])
            session.append(time.perf_counter() - begin)
        served.append(measure_server(url, batches, seconds=seconds / 5).p50)
    inside, outside = float(np.median(session)), float(np.median(served))
    print(f"batch {BATCH}: session p50 {inside * 1e3:.2f} ms, server p50 {outside * 1e3:.2f} ms, ", end="")
    print(f"added {(outside - inside) * 1e3:.2f} ms (target {MAX_ADDED * 1e3:.0f})", flush=True)
    return outside - inside <= MAX_ADDED


def _soak(url: str, pid: int, batches: list[dict[str, Any]], arguments: argparse.Namespace) -> bool:
    capacity = measure_server(url, batches, clients=CLIENTS, seconds=2 * arguments.seconds)
    print(f"capacity with {CLIENTS} clients: {_shown(capacity)}", flush=True)
    rate, seconds = SHARE * capacity.rate, 60 * arguments.minutes
    # The first tenth warms caches and pools up: growth is judged from there.
    first = measure_server(url, batches, clients=CLIENTS, seconds=seconds / 10, rate=rate)
    before = _own_memory(pid)
    figures = measure_server(url, batches, clients=CLIENTS, seconds=seconds * 0.9, rate=rate)
    growth = _own_memory(pid) / before - 1
    print(f"soak of {arguments.minutes:g} minutes at {SHARE:.0%}: {_shown(figures)}, ", end="")
    print(f"memory {before / 2**20:.0f} MiB {growth:+.1%}, p99 / p50 {figures.p99 / figures.p50:.1f}", flush=True)
    errors = first.errors + figures.errors
    return errors == 0 and growth <= MAX_GROWTH and figures.p99 <= MAX_TAIL * figures.p50


def _restart(model: Path) -> bool:
    size = sum(each.stat().st_size for each in model.parent.glob(f"{model.name}*"))
    with _server(model) as (process, _):
        os.kill(process.pid, signal.SIGKILL)
    begin = time.perf_counter()
    with _server(model):
        seconds = time.perf_counter() - begin
    print(f"model of {size / 1e9:.2f} GB: ready {seconds:.2f} s after a start that follows kill -9 (target 3)")
    return seconds <= MAX_RESTART


def _shown(figures: LoadFigures) -> str:
    text = f"{figures.rate:.0f} requests/s, p50 {figures.p50 * 1e3:.2f} ms, p99 {figures.p99 * 1e3:.2f} ms"
    return f"{text}, {figures.requests} answered, {figures.errors} errors {figures.first_error}".rstrip()


def _own_memory(pid: int) -> int:
    """Bytes of memory that a process has for itself: rows that are mapped from the model's files do not count."""
    match = re.search(r"RssAnon:\s+(\d+) kB", Path(f"/proc/{pid}/status").read_text())
    assert match is not None
    return int(match[1]) * 1024


@contextmanager
def _server(model: Path) -> Iterator[tuple[subprocess.Popen[str], str]]:
    """`hugectr2onnx serve`, which has said that it listens, and so is ready."""
    command = [sys.executable, "-m", "hugectr2onnx", "serve", str(model), "--port", "0"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            match = re.search(r"at (http://\S+?);", process.stdout.readline())
            if match is None:
                raise RuntimeError("the server did not start")
            yield process, match[1]
        finally:
            process.terminate()
