"""`predict` and `evaluate`: a converted model over a whole data set."""

from __future__ import annotations

import os
import time
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import AbstractContextManager, nullcontext
from dataclasses import asdict, dataclass, field
from typing import Any, Protocol

import numpy as np

from hugectr2onnx.datasets.dataset import BATCH_SIZE, Dataset, open_dataset
from hugectr2onnx.datasets.parquet import table_rows
from hugectr2onnx.datasets.recorded_predictions import ATOL, RECORDED_RTOL
from hugectr2onnx.datasets.row_batch import RowBatch
from hugectr2onnx.datasets.rows import up_to_damage
from hugectr2onnx.datasets.schema import LabelColumns
from hugectr2onnx.errors import FeedError
from hugectr2onnx.ir.types import Array
from hugectr2onnx.scoring import Engine
from hugectr2onnx.scoring.against import Comparer, PredictionComparison, read_recorded
from hugectr2onnx.scoring.cluster import ClusterRun, cluster_run
from hugectr2onnx.scoring.metrics import DEFAULT_METRICS, Metrics, check_metrics
from hugectr2onnx.scoring.prediction_files import InMemory, Nowhere, Writer, check_path, prediction_columns, writing
from hugectr2onnx.scoring.scorer import Scorer
from hugectr2onnx.scoring.unknown_keys import check_keys

Progress = Callable[[int, int | None], None]
"""Called with the rows that are done and those there are, None where only reading tells."""


@dataclass(frozen=True)
class Predictions:
    """The result of a run over a data set.

    `columns`: ids, labels and predictions by name where no file was asked for. `scores`: {label: {metric: value}}.
    """

    rows: int
    seconds: float
    path: str | None = None
    columns: Mapping[str, Array] = field(default_factory=dict)
    scores: Mapping[str, Mapping[str, float]] = field(default_factory=dict)
    comparison: PredictionComparison | None = None
    warnings: tuple[str, ...] = ()

    def to_dict(self) -> dict[str, Any]:
        """Return everything but the columns, as JSON-ready data."""
        return {
            "rows": self.rows,
            "seconds": self.seconds,
            "rows_per_second": self.rows / self.seconds if self.seconds else None,
            "path": self.path,
            "metrics": {label: dict(values) for label, values in self.scores.items()},
            "against": asdict(self.comparison) if self.comparison else None,
            "warnings": list(self.warnings),
        }


def predict(
    model: str | os.PathLike[str],
    data: Any,
    out: str | os.PathLike[str] | None = None,
    *,
    batch_size: int | None = None,
    threads: int | None = None,
    progress: Progress | None = None,
    metrics: Sequence[str] = (),
    group: str | None = None,
    against: str | os.PathLike[str] | None = None,
    rtol: float = RECORDED_RTOL,
    atol: float = ATOL,
    partial: bool = False,
    force: bool = False,
    keep: bool | None = None,
    engine: Engine = "local",
    address: str | None = None,
    **dataset_options: Any,
) -> Predictions:
    """Predict every sample of a data set, in its order.

    model: an ONNX file. data: a `Dataset`, or what `open_dataset` takes (`dataset_options` are its options). out: a file
    that ends in .parquet, .csv, .npy or .npz; without it the predictions are kept in memory (keep=False: dropped).
    threads: of onnxruntime, or workers of Ray; all cores by default. metrics: names such as "auc" (see `scoring.metrics`);
    group: the id column of `hitrate@K` and `ndcg@K`. against: recorded predictions, compared within rtol and atol.
    partial: keep what was predicted before damage. force: overwrite `out`. progress: called with the rows so far.
    engine: "ray" or "spark" run the same job on a cluster at `address`, or on one that they start on this machine; data is
    then Parquet, and `out` may be a new folder that the workers write files into.

    Raises FeedError for data that does not fit or is damaged, OutputError for a file that cannot be written.
    """
    names = check_metrics(metrics)
    run = _run(model, data, engine, address, batch_size, threads, dataset_options)
    if isinstance(run, _RunOnCluster) and out is not None and not os.path.splitext(out)[1]:
        return _written_by_workers(run.cluster, os.fspath(out))
    target = None if out is None else check_path(out, force=force, others=[model, str(run.name)])
    comparer = None if against is None else Comparer(read_recorded(against, run.labels), rtol, atol, run.is_limited)
    sinks = _Sinks(Metrics(names) if names else None, group, comparer)
    memory = InMemory([])
    keeps = target is None and keep is not False
    place: AbstractContextManager[Writer] = (
        writing(target, partial=partial) if target else nullcontext(memory if keeps else Nowhere())
    )
    start = time.perf_counter()
    with place as writer:
        rows = sinks.take(run, writer, progress)
    seconds = time.perf_counter() - start
    scores = sinks.metrics.scores() if sinks.metrics else {}
    warnings = tuple(run.warnings())
    if names and not scores:
        warnings += (f"{run.name}: holds no labels, which {', '.join(names)} need",)
    comparison = comparer.result() if comparer else None
    path = None if target is None else str(target)
    return Predictions(rows, seconds, path, memory.columns, scores, comparison, warnings)


def _run(
    model: str | os.PathLike[str],
    data: Any,
    engine: Engine,
    address: str | None,
    batch_size: int | None,
    threads: int | None,
    dataset_options: Mapping[str, Any],
) -> _Run:
    """Return the job on this machine, or on a cluster; checked, not started."""
    if engine == "local":
        dataset = data if isinstance(data, Dataset) else open_dataset(data, model, **dataset_options)
        return _LocalRun(dataset, Scorer(model), batch_size or dataset.batch_size, threads or _cores())
    size = batch_size or int(dataset_options.get("batch_size", BATCH_SIZE))
    return _RunOnCluster(
        cluster_run(engine, model, data, dataset_options, address=address, batch_size=size, workers=threads)
    )


def evaluate(
    model: str | os.PathLike[str],
    data: Any,
    metrics: Sequence[str] = DEFAULT_METRICS,
    **options: Any,
) -> dict[str, dict[str, float]]:
    """Return the metrics of a model on a labelled data set: {label: {metric: value}}. Options are those of `predict`.

    Raises FeedError where the data has no labels.
    """
    done = predict(model, data, metrics=metrics, keep=False, **options)
    if not done.scores:
        raise FeedError("the data holds no labels, and metrics need them")
    return {label: dict(values) for label, values in done.scores.items()}


def _cores() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


class _Run(Protocol):
    """A run over a data set: the batches, and the scorer that answers them."""

    @property
    def name(self) -> str: ...
    @property
    def labels(self) -> Sequence[LabelColumns]: ...
    @property
    def rows(self) -> int | None: ...
    @property
    def is_limited(self) -> bool: ...
    def batches(self) -> Iterator[tuple[RowBatch, dict[str, Array]]]: ...
    def warnings(self) -> Iterator[str]: ...


@dataclass(frozen=True)
class _LocalRun:
    """Batches on this machine: as many at once as there are threads, each on one."""

    dataset: Dataset
    scorer: Scorer
    batch_size: int
    threads: int
    doubts: list[str] = field(default_factory=list)
    """What the keys of the first samples give cause to say."""

    @property
    def name(self) -> str:
        return self.dataset.name

    @property
    def labels(self) -> Sequence[LabelColumns]:
        return self.dataset.schema.labels

    @property
    def rows(self) -> int | None:
        return self.dataset.rows

    @property
    def is_limited(self) -> bool:
        return self.dataset.limit is not None

    def batches(self) -> Iterator[tuple[RowBatch, dict[str, Array]]]:
        """Yield batches with their predictions, in order."""
        waiting: deque[tuple[RowBatch, Future[dict[str, Array]]]] = deque()
        _ = self.scorer.session
        failure: list[FeedError] = []
        has_samples = False
        with ThreadPoolExecutor(self.threads, "hugectr2onnx-scorer") as pool:
            for number, batch in enumerate(up_to_damage(self.dataset.batches(self.batch_size), failure)):
                if number == 0:
                    has_samples = True
                    self.doubts.extend(check_keys(self.scorer.path, self.dataset.schema, batch.inputs, self.name))
                waiting.append((batch, pool.submit(self.scorer, batch.inputs)))
                if len(waiting) > self.threads:
                    yield _next(waiting)
            while waiting:
                yield _next(waiting)
        for error in failure:
            raise error
        if not has_samples:
            yield self._nothing()

    def _nothing(self) -> tuple[RowBatch, dict[str, Array]]:
        """Return a batch without samples, which tells what columns there are."""
        columns = getattr(self.dataset.source, "columns", None)
        has_labels = columns is None or bool(columns.labels)
        labels = {each.name: np.empty((0, each.columns), np.float32) for each in self.labels} if has_labels else {}
        return RowBatch({}, labels), self.scorer.nothing()

    def warnings(self) -> Iterator[str]:
        yield from self.dataset.warnings
        yield from self.doubts
        converted = getattr(self.dataset.source, "converted", {})
        if converted:
            listed = ", ".join(f"{name} ({kind})" for name, kind in list(converted.items())[:8])
            yield f"labels and dense values of other types were converted to float32: {listed}"


@dataclass(frozen=True)
class _RunOnCluster:
    """Batches that Ray or Spark gives back."""

    cluster: ClusterRun

    @property
    def name(self) -> str:
        return self.cluster.job.paths[0]

    @property
    def labels(self) -> Sequence[LabelColumns]:
        return self.cluster.job.scorer.schema.labels

    @property
    def rows(self) -> int | None:
        return None

    @property
    def is_limited(self) -> bool:
        return False

    def batches(self) -> Iterator[tuple[RowBatch, dict[str, Array]]]:
        return self.cluster.batches()

    def warnings(self) -> Iterator[str]:
        yield from self.cluster.job.warnings


@dataclass
class _Sinks:
    """The sinks of predictions: a writer, metrics, a comparison."""

    metrics: Metrics | None
    group: str | None
    comparer: Comparer | None

    def take(self, run: _Run, writer: Writer, progress: Progress | None) -> int:
        """Take every batch; gives the number of rows."""
        done = 0
        for batch, predictions in run.batches():
            if self.metrics is not None:
                labels = {name: array for name, array in batch.labels.items() if name in predictions}
                self.metrics.add(predictions, labels, self._groups(batch))
            if self.comparer is not None:
                self.comparer.add(predictions)
            writer.add(prediction_columns(batch.labels, predictions, batch.ids))
            done += len(next(iter(predictions.values())))
            if progress is not None:
                progress(done, run.rows)
        return done

    def _groups(self, batch: RowBatch) -> Array | None:
        if self.group is None:
            return None
        if self.group not in batch.ids:
            raise FeedError(f"the data has no id column {self.group!r}; name it in columns (ids={self.group})")
        return batch.ids[self.group]


def _written_by_workers(cluster: ClusterRun, folder: str) -> Predictions:
    start = time.perf_counter()
    cluster.write(folder)
    rows = sum(table_rows(path) for path in cluster.job.paths)
    return Predictions(rows, time.perf_counter() - start, folder, warnings=cluster.job.warnings)


def _next(waiting: deque[tuple[RowBatch, Future[dict[str, Array]]]]) -> tuple[RowBatch, dict[str, Array]]:
    batch, future = waiting.popleft()
    return batch, future.result()
