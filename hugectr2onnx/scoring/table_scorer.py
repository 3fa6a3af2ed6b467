"""`TableScorer`: from a table of HugeCTR's columns to a table of predictions, as cluster engines hand tables around."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from hugectr2onnx.datasets.columns import Columns, columns_of
from hugectr2onnx.datasets.dataset import open_dataset
from hugectr2onnx.datasets.parquet import Table, TableSource
from hugectr2onnx.datasets.rows import to_batch
from hugectr2onnx.datasets.schema import Schema
from hugectr2onnx.errors import UnsupportedError
from hugectr2onnx.scoring.prediction_files import arrow_table, prediction_columns
from hugectr2onnx.scoring.scorer import Scorer

if TYPE_CHECKING:
    import pyarrow as pa


@dataclass(frozen=True)
class TableScorer:
    """Picklable: a scorer, the schema of its model, and which columns are which.

    Calling it with an Arrow table gives ids, labels and predictions in the columns that `predict` writes.
    """

    scorer: Scorer
    schema: Schema
    columns: Columns
    passed: tuple[str, ...] = field(default=())
    """Further columns that go through as they are, such as a row number."""

    def __call__(self, table: pa.Table) -> pa.Table:
        """Raises FeedError for nulls, NaN and keys that do not fit."""
        piece = table.combine_chunks().to_batches()
        if not piece:
            return self._empty(table)
        source = TableSource((Table("a table", table.schema, None, _nothing),), self.columns, self.schema)
        batch = to_batch(source.rows_of(piece[0], source.tables[0], 0), self.schema)
        found = arrow_table(prediction_columns(batch.labels, self.scorer(batch.inputs), batch.ids))
        for name in self.passed:
            found = found.append_column(name, table.column(name))
        return found

    def _empty(self, table: pa.Table) -> pa.Table:
        import numpy as np

        labels = {each.name: np.empty((0, each.columns), np.float32) for each in self.schema.labels}
        ids = {name: table.column(name).to_numpy() for name in self.columns.ids}
        found = arrow_table(prediction_columns(labels if self.columns.labels else {}, labels, ids))
        for name in self.passed:
            found = found.append_column(name, table.column(name))
        return found


def _nothing(_: Sequence[str], __: int) -> Any:
    return iter(())


@dataclass(frozen=True)
class ClusterJob:
    """The job that an engine runs: files in their order and the scorer of their tables."""

    paths: tuple[str, ...]
    scorer: TableScorer
    warnings: tuple[str, ...]

    @property
    def columns(self) -> tuple[str, ...]:
        return self.scorer.columns.all


def cluster_job(
    model: str | os.PathLike[str],
    data: str | os.PathLike[str],
    *,
    columns: str | Columns | Mapping[str, Sequence[str]] | None = None,
    slot_size_array: Sequence[int] | None = None,
    threads: int = 1,
    passed: tuple[str, ...] = (),
) -> ClusterJob:
    """Check a Parquet data set against a model, as `predict` does, before anything is sent to an engine.

    Raises UnsupportedError for other formats and for a file that is listed twice, FeedError for data that does not fit.
    """
    chosen = None if columns is None else columns_of(columns)
    dataset = open_dataset(data, model, columns=chosen, slot_size_array=slot_size_array)
    if dataset.format != "parquet" or not isinstance(dataset.source, TableSource):
        raise UnsupportedError(f"{dataset.name}: is in the format {dataset.format}; Ray and Spark read Parquet")
    source = dataset.source
    scorer = TableScorer(Scorer(model, threads=threads), dataset.schema, source.columns, passed)
    paths = tuple(os.path.realpath(table.where) for table in source.tables)
    repeated = next((path for path in paths if paths.count(path) > 1), None)
    if repeated is not None:
        raise UnsupportedError(f"{dataset.name}: lists {repeated} more than once; Ray and Spark read a file once")
    return ClusterJob(paths, scorer, dataset.warnings)
