"""Measure what a server costs: its rate and latencies beside those of a session in this process."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from hugectr2onnx.errors import FeedError
from hugectr2onnx.ir.types import Array
from hugectr2onnx.serving.known_keys import known_keys
from hugectr2onnx.serving.load import Target, measure_server
from hugectr2onnx.serving.served_model import ServedModel
from hugectr2onnx.serving.tensor_forms import TensorForm

BATCHES = 16
"""Different requests that clients send in turn."""
DRAWN_KEYS = 10_000


@dataclass(frozen=True)
class ServerTiming:
    """Of one batch size and number of clients. rate: requests a second; p50, p99: microseconds; clients 0: the session."""

    where: str
    batch: int
    clients: int
    rate: float
    p50: float
    p99: float
    errors: int

    def to_dict(self) -> dict[str, Any]:
        return asdict(self)


def bench_server(
    url: str,
    model: str | os.PathLike[str] | None = None,
    *,
    batch: Sequence[int] = (1, 64, 1024),
    clients: Sequence[int] = (1,),
    seconds: float = 2.0,
    seed: int = 0,
) -> list[ServerTiming]:
    """Measure a server of the Open Inference Protocol, and, where its file is given, the model in this process.

    Inputs are drawn: keys from the model's own where there is a file, else from the numbers below 10,000. Raises FeedError
    where nothing answers, and where every request is refused.
    """
    forms = Target.of(url).inputs()
    if any(not form.shape for form in forms) or any(len(form.shape) == 1 for form in forms):
        raise FeedError(f"{url} takes keys and offsets (csr or hugectr): inputs are drawn for padded keys only")
    keys = np.arange(DRAWN_KEYS) if model is None else known_keys(model)
    generator = np.random.default_rng(seed)
    found = []
    for size in batch:
        batches = [_drawn(forms, keys, size, generator) for _ in range(BATCHES)]
        if model is not None:
            found.append(_in_process(ServedModel(model), batches, size, seconds))
        found += _of_server(url, batches, size, clients, seconds)
    return found


def _drawn(forms: Sequence[TensorForm], keys: Array, batch: int, generator: np.random.Generator) -> dict[str, Array]:
    drawn = {}
    for form in forms:
        shape = (batch, *(1 if dim == -1 else dim for dim in form.shape[1:]))
        is_keys = form.datatype.startswith("INT")
        values = generator.choice(keys, shape) if is_keys else generator.normal(0, 1, shape)
        drawn[form.name] = values.astype(form.dtype)
    return drawn


def _of_server(
    url: str, batches: Sequence[dict[str, Array]], size: int, clients: Sequence[int], seconds: float
) -> Iterator[ServerTiming]:
    for count in clients:
        figures = measure_server(url, batches, clients=count, seconds=seconds)
        if not figures.requests:
            raise FeedError(f"{url} answered no request at batch {size}: {figures.first_error}")
        yield ServerTiming("server", size, count, figures.rate, figures.p50 * 1e6, figures.p99 * 1e6, figures.errors)


def _in_process(model: ServedModel, batches: Sequence[dict[str, Array]], size: int, seconds: float) -> ServerTiming:
    taken: list[float] = []
    model.predict(batches[0])
    end = time.perf_counter() + seconds
    while time.perf_counter() < end:
        begin = time.perf_counter()
        model.predict(batches[len(taken) % len(batches)])
        taken.append(time.perf_counter() - begin)
    p50, p99 = np.percentile(taken, [50, 99]).tolist()
    return ServerTiming("session", size, 0, len(taken) / sum(taken), p50 * 1e6, p99 * 1e6, 0)
