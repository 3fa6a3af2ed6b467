"""Run `predict`: the rate of `predict` on data sets beside a loop over arrays that were made beforehand."""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any

from hugectr2onnx.datasets import HugeCTRFormat
from hugectr2onnx.datasets.dataset import Dataset, open_dataset
from hugectr2onnx.latency import machine
from hugectr2onnx.sample_models.catalog import SamplePaths
from hugectr2onnx.sample_models.data_sets import write_data_set
from hugectr2onnx.scoring.predict import predict
from hugectr2onnx.scoring.scorer import Scorer

BATCH = 8192
TARGET, READING_TARGET = 0.85, 0.80
READING_TURNS = 5
FORMATS = ("parquet", "parquet-zstd", "norm", "raw")


def add_arguments(verb: argparse.ArgumentParser) -> None:
    """The flags of the verb."""
    verb.add_argument("models", nargs="*", metavar="MODEL", help="sample models (wdl and dcn)")
    verb.add_argument("--rows", type=int, default=200_000, help="samples of a data set (200000)")
    verb.add_argument("--threads", type=int, default=2, help="of both sides (2)")
    verb.add_argument("--rounds", type=int, default=3, help="how often the sides take turns; medians are told (3)")
    verb.add_argument("--formats", default=",".join(FORMATS), help=",".join(FORMATS))


@dataclass(frozen=True)
class PredictLine:
    """Rows a second of both sides, and of reading alone beside pyarrow where the data is Parquet."""

    model: str
    format: str
    predict: float
    loop: float
    reading: float
    pyarrow: float | None

    def cells(self) -> tuple[str, ...]:
        ratio = f"{self.predict / self.loop:.0%}"
        reading = f"{self.reading / self.pyarrow:.0%}" if self.pyarrow else "-"
        return self.model, self.format, f"{self.predict:,.0f}", f"{self.loop:,.0f}", ratio, reading


def run(arguments: argparse.Namespace) -> int:
    """Measure, print the table. Returns 1 where a target is missed."""
    about, lines = machine.describe(), []
    with tempfile.TemporaryDirectory() as folder:
        for name in arguments.models or ("wdl", "dcn"):
            lines += list(_measure(name, Path(folder) / name, arguments))
    print(f"{about['cpu']}, {about['cores']} cores, load {about['load']} at the start; {arguments.threads} threads\n")
    print("| model | data | predict, rows/s | arrays made beforehand | ratio | reading, of pyarrow |")
    print("| --- | --- | ---: | ---: | ---: | ---: |")
    for line in lines:
        print("| " + " | ".join(line.cells()) + " |")
    missed = [each for each in lines if each.predict < TARGET * each.loop]
    slow = [each for each in lines if each.pyarrow and each.reading < READING_TARGET * each.pyarrow]
    return 1 if missed or slow else 0


def _measure(name: str, folder: Path, arguments: argparse.Namespace) -> Iterator[PredictLine]:
    import hugectr2onnx
    from hugectr2onnx.sample_models import write_sample

    sample = write_sample(name, folder, scale="realistic")
    model = folder / "model.onnx"
    hugectr2onnx.compile(sample.graph, sample.weights).save(model, external=True)
    hotness = {width for table in sample_hotness(sample) for width in table}
    for format in arguments.formats.split(","):
        if format == "raw" and hotness != {1}:
            continue
        print(f"{name}, {format}", file=sys.stderr)
        data, options = _written(sample, folder / format, format, arguments.rows)
        dataset = open_dataset(data, model, batch_size=BATCH, **options)
        yield _line(name, format, dataset, Scorer(model), arguments)


def sample_hotness(sample: SamplePaths) -> Sequence[Sequence[int]]:
    """The keys of each slot of each sparse input."""
    from hugectr2onnx.frontend.graph_json import reader
    from hugectr2onnx.frontend.layers.layer import REGISTRY

    return [sparse.nnz_per_slot for sparse in reader.read(sample.graph, REGISTRY.keys()).data.sparse]


def _written(sample: SamplePaths, folder: Path, format: str, rows: int) -> tuple[Path, dict[str, Any]]:
    """The training part of a data set of `rows` samples, and how it is read."""
    kind: HugeCTRFormat = "norm" if format == "norm" else "raw" if format == "raw" else "parquet"
    train, _ = write_data_set(sample, folder, rows=rows * 5 // 4, format=kind)
    if kind == "parquet":
        import pyarrow.parquet as pq

        for path in train.parent.glob("*.parquet"):
            pq.write_table(pq.read_table(path), path, compression="zstd" if format.endswith("zstd") else "none")
        return train, {"slot_size_array": sample.slot_size_array}
    return train, {"float_dense": True, "int64_keys": True} if kind == "raw" else {}


def _line(name: str, format: str, dataset: Dataset, scorer: Scorer, arguments: argparse.Namespace) -> PredictLine:
    batches = [batch.inputs for batch in dataset.batches()]
    scoring: dict[str, Callable[[], object]] = {
        "loop": lambda: _loop(scorer, batches, arguments.threads),
        "predict": lambda: predict(scorer.path, dataset, threads=arguments.threads, keep=False),
    }
    reading: dict[str, Callable[[], object]] = {"reading": lambda: deque(dataset.batches(), maxlen=0)}
    if format.startswith("parquet"):
        paths = [table.where for table in getattr(dataset.source, "tables", ())]
        reading["pyarrow"] = lambda: _columns(paths)
    # Reading takes a fiftieth of the time, so that it has more turns.
    seconds = {**_in_turn(scoring, arguments.rounds), **_in_turn(reading, arguments.rounds * READING_TURNS)}
    rates: Mapping[str, float] = {side: len(dataset) / median(each) for side, each in seconds.items()}
    return PredictLine(name, format, rates["predict"], rates["loop"], rates["reading"], rates.get("pyarrow"))


def _in_turn(sides: Mapping[str, Callable[[], object]], rounds: int) -> Mapping[str, Sequence[float]]:
    """Return the seconds of each round of each side."""
    times: dict[str, list[float]] = {side: [] for side in sides}
    for _ in range(rounds):
        for side, work in sides.items():
            start = time.perf_counter()
            work()
            times[side].append(time.perf_counter() - start)
    return times


def _loop(scorer: Scorer, batches: Sequence[Mapping[str, Any]], threads: int) -> None:
    """The same session with the same threads, fed with arrays that are there."""
    own = Scorer(scorer.path)
    with ThreadPoolExecutor(threads) as pool:
        deque(pool.map(own, batches), maxlen=0)


def _columns(paths: Sequence[str]) -> None:
    """Every column as a numpy array, a batch at a time."""
    import pyarrow.parquet as pq

    for path in paths:
        for piece in pq.ParquetFile(path).iter_batches(BATCH):
            for column in piece.columns:
                column.to_numpy(zero_copy_only=False)
