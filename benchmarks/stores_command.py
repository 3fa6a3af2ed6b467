"""Run `stores`: what a request costs with its rows in a store, beside the same model in one file."""

from __future__ import annotations

import argparse
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np

from benchmarks.markdown import markdown
from hugectr2onnx import compiler
from hugectr2onnx.latency import machine
from hugectr2onnx.options import Options
from hugectr2onnx.sample_models.builder import ModelBuilder, SparseParam
from hugectr2onnx.sample_models.generate import generate_weights
from hugectr2onnx.scoring.scorer import Scorer
from hugectr2onnx.stores.export import export_split
from hugectr2onnx.stores.lookup_client import LookupClient
from hugectr2onnx.stores.split_folder import open_store
from hugectr2onnx.stores.split_scorer import SplitScorer

BATCH, SLOTS, WIDTH, DENSE = 64, 26, 128, 13
WARM_UP = 5
SKEW = 1.2
"""The exponent of the popularity of keys, where they are not drawn alike."""
CACHE_BYTES = 64 << 20
Feeds = Mapping[str, Any]


def add_arguments(verb: argparse.ArgumentParser) -> None:
    """The flags of the verb."""
    verb.add_argument(
        "stores", nargs="*", default=["parquet", "rocksdb"], metavar="STORE", help="parquet rocksdb redis"
    )
    verb.add_argument("--address", default="", help="nodes of Redis")
    verb.add_argument("--rows", type=int, default=200_000, help="of the table (200000)")
    verb.add_argument("--requests", type=int, default=40, help="measured of each kind (40)")


@dataclass(frozen=True)
class StoreLine:
    """Milliseconds of a request at p50, and those of this process on a processor."""

    where: str
    keys: str
    wall: float
    processor: float

    def cells(self, one: StoreLine) -> tuple[str, ...]:
        looked_up = BATCH * SLOTS / self.wall * 1000
        ratios = f"{self.wall / one.wall:.1f}", f"{self.processor / one.processor:.1f}"
        return self.where, self.keys, f"{self.wall:.2f}", f"{self.processor:.2f}", *ratios, f"{looked_up:,.0f}"


def run(arguments: argparse.Namespace) -> int:
    """Measure and print the table."""
    with tempfile.TemporaryDirectory() as name:
        lines, rates = _measure(Path(name), arguments)
    heads = ("rows in", "keys", "ms", "processor ms", "ms / one file", "processor / one file", "look-ups a second")
    print(f"{machine.describe()}\n{BATCH} samples of {SLOTS} keys, {WIDTH} float32 a row, {arguments.rows:,} rows\n")
    print(markdown(heads, [line.cells(lines[0]) for line in lines]))
    for store, rate in rates.items():
        print(f"export to {store}: {rate:,.0f} rows a second")
    return 0


def _measure(folder: Path, arguments: argparse.Namespace) -> tuple[list[StoreLine], dict[str, float]]:
    model = ModelBuilder(SparseParam("k", SLOTS), dense=DENSE)
    model.embedding("k", "e", WIDTH, arguments.rows)
    joined = model.concat([model.reshape("e", "flat", SLOTS * WIDTH), "dense"], "joined")
    model.loss(model.fc(model.relu(model.fc(joined, "fc1", 256), "relu1"), "fc2", 1))
    graph, weights = model.graph(), generate_weights(model.graph(), folder / "model", rows=model.rows, keys="ids")
    options = Options(check=False)
    compiler.compile(graph, weights, options=options).save(folder / "one.onnx", external=True)
    requests = _Requests(np.fromfile(Path(weights.tables[0]) / "key", "<i8"), arguments.requests)
    lines = [_line("one file", "alike", Scorer(folder / "one.onnx"), requests.alike())]
    rates = {}
    for store in arguments.stores:
        started = time.perf_counter()
        place = folder / store
        addresses = arguments.address if store == "redis" else ""
        export_split(graph, weights, place, store=store, addresses=addresses, options=options, prefix="benchmark")
        rates[store] = arguments.rows / (time.perf_counter() - started)
        for cache, keys, feeds in ((0, "alike", requests.alike), (CACHE_BYTES, "skewed, cached", requests.skewed)):
            with SplitScorer(place, LookupClient(open_store(place), cache_bytes=cache)) as scorer:
                lines.append(_line(store, keys, scorer, feeds()))
    return lines, rates


@dataclass(frozen=True)
class _Requests:
    keys: np.ndarray[Any, Any]
    count: int

    def alike(self) -> Iterator[Feeds]:
        """Every key as often as any other: a cache gains nothing."""
        return self._of(lambda generator: generator.integers(0, len(self.keys), (BATCH, SLOTS, 1)))

    def skewed(self) -> Iterator[Feeds]:
        """Few keys often, most of them seldom."""
        return self._of(lambda generator: (generator.zipf(SKEW, (BATCH, SLOTS, 1)) - 1) % len(self.keys))

    def _of(self, draw: Callable[[np.random.Generator], Any]) -> Iterator[Feeds]:
        generator = np.random.default_rng(0)
        for _ in range(self.count + WARM_UP):
            dense = generator.random((BATCH, DENSE), np.float32)
            yield {"dense": dense, "k": self.keys[draw(generator)]}


def _line(where: str, keys: str, score: Callable[[Feeds], object], requests: Iterator[Feeds]) -> StoreLine:
    walls, processors = [], []
    for feeds in requests:
        wall, processor = time.perf_counter(), time.process_time()
        score(feeds)
        walls.append(time.perf_counter() - wall)
        processors.append(time.process_time() - processor)
    return StoreLine(where, keys, 1e3 * median(walls[WARM_UP:]), 1e3 * median(processors[WARM_UP:]))
