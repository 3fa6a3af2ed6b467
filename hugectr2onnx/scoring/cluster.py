"""`predict` on Ray or Spark: the same columns, the same results, in the same order."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import numpy as np

from hugectr2onnx.datasets.parquet import open_parquet
from hugectr2onnx.datasets.row_batch import RowBatch
from hugectr2onnx.datasets.rows import to_batch
from hugectr2onnx.errors import FeedError, HugeCTR2ONNXError, OutputError, UnsupportedError
from hugectr2onnx.ir.types import Array
from hugectr2onnx.scoring import ENGINES, Engine
from hugectr2onnx.scoring.prediction_files import prediction_names
from hugectr2onnx.scoring.table_scorer import ClusterJob, cluster_job

T = TypeVar("T")
DAMAGE_WORDS = ("FeedError", "Parquet", "parquet", "Arrow")
"""Words of an engine's error that tell of the data."""
CLUSTER_OPTIONS = ("columns", "slot_size_array", "batch_size", "format", "limit")


@dataclass(frozen=True)
class ClusterRun:
    """A job and the engine that runs it; `address` of a running cluster, None for one on this machine."""

    engine: Engine
    job: ClusterJob
    outputs: tuple[str, ...]
    address: str | None
    batch_size: int
    workers: int | None

    def batches(self) -> Iterator[tuple[RowBatch, dict[str, Array]]]:
        """Labels, ids and predictions in the order of the data."""
        names = prediction_names(self.outputs)
        labels = {label.name for label in self.job.scorer.schema.labels} if self.job.scorer.columns.labels else set()
        for table in self._own_errors(self._tables()):
            columns = {name: _array(table.column(name)) for name in table.column_names}
            predictions = {output: _matrix(columns[names[output]]) for output in self.outputs}
            ids = {name: columns[name] for name in self.job.scorer.columns.ids}
            yield RowBatch({}, {name: _matrix(columns[name]) for name in labels}, ids), predictions

    def write(self, folder: str) -> None:
        """Let the workers write Parquet files into a new folder; where they fail, what they wrote is removed."""
        require_new(folder)
        existed = os.path.isdir(folder)
        try:
            list(self._own_errors(self._written(folder)))
        except BaseException:
            _remove_written(folder, existed)
            raise

    def _written(self, folder: str) -> Iterator[None]:
        yield
        if self.engine == "ray":
            from hugectr2onnx.scoring.engines import ray_engine

            ray_engine.write(self.job, folder, address=self.address, batch_size=self.batch_size, workers=self.workers)
        else:
            from hugectr2onnx.scoring.engines import spark_engine

            spark_engine.write(self.job, folder, address=self.address, batch_size=self.batch_size)

    def _own_errors(self, made: Iterator[T]) -> Iterator[T]:
        """Yield what an engine makes. Raises FeedError that names the place of damage, which engines hide."""
        try:
            yield from made
        except HugeCTR2ONNXError:
            raise
        except Exception as error:
            # Reading all of a large data set here must not be the answer to a cluster that cannot be reached.
            if any(word in str(error) for word in DAMAGE_WORDS):
                self._find_damage()
            lines = str(error).strip().splitlines() or [type(error).__name__]
            raise FeedError(f"the engine {self.engine} failed: {lines[-1][:300]}") from error

    def _find_damage(self) -> None:
        """Read the data here, without predicting. Raises FeedError where it is damaged."""
        scorer = self.job.scorer
        source = open_parquet(tuple(map(Path, self.job.paths)), scorer.schema, scorer.columns)
        for rows in source.pieces(self.batch_size):
            to_batch(rows, scorer.schema)

    def _tables(self) -> Iterator[Any]:
        if self.engine == "ray":
            from hugectr2onnx.scoring.engines import ray_engine

            return ray_engine.tables(self.job, address=self.address, batch_size=self.batch_size, workers=self.workers)
        from hugectr2onnx.scoring.engines import spark_engine

        return spark_engine.tables(self.job, address=self.address, batch_size=self.batch_size)


def cluster_run(
    engine: Engine,
    model: str | os.PathLike[str],
    data: Any,
    options: Mapping[str, Any],
    *,
    address: str | None,
    batch_size: int,
    workers: int | None,
) -> ClusterRun:
    """Check the job on this machine, before an engine starts. Raises FeedError and UnsupportedError."""
    if engine not in ENGINES:
        raise UnsupportedError(f"there is no engine {engine!r}; there are {', '.join(ENGINES)}")
    given = [name for name, value in options.items() if value and name not in CLUSTER_OPTIONS]
    if given or options.get("limit") is not None:
        listed = ", ".join([*given, *(["limit"] if options.get("limit") is not None else [])])
        raise UnsupportedError(f"the engine {engine} reads whole Parquet data sets: leave out {listed}")
    if not isinstance(data, str | os.PathLike):
        raise UnsupportedError(f"the engine {engine} reads Parquet files: give a path, not a {type(data).__name__}")
    job = cluster_job(model, data, columns=options.get("columns"), slot_size_array=options.get("slot_size_array"))
    outputs = tuple(entry.name for entry in job.scorer.scorer.session.get_outputs())
    return ClusterRun(engine, job, outputs, address, batch_size, workers)


def require_new(folder: str) -> None:
    """Raise OutputError for a folder that holds files."""
    if os.path.isdir(folder) and os.listdir(folder):
        raise OutputError(f"{folder}: is not empty; choose a new folder for the files of predictions")


def _remove_written(folder: str, existed: bool) -> None:
    """Remove a folder of predictions that was not finished; one that was there before is emptied."""
    shutil.rmtree(folder, ignore_errors=True)
    if existed:
        os.makedirs(folder, exist_ok=True)


def _array(column: Any) -> Array:
    merged = column.combine_chunks()
    kind = str(merged.type)
    if "list" in kind:
        values = merged.flatten().to_numpy(zero_copy_only=False)
        return np.asarray(values).reshape(len(merged), -1)
    return np.asarray(merged.to_numpy(zero_copy_only=False))


def _matrix(array: Array) -> Array:
    return array[:, None] if array.ndim == 1 else array
