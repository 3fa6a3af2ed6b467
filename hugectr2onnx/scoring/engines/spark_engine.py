"""`predict` on Spark: `mapInArrow`, one session for each Python worker."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator
from typing import Any
from urllib.parse import unquote, urlsplit

from hugectr2onnx.errors import UnsupportedError
from hugectr2onnx.scoring.table_scorer import ClusterJob, TableScorer

FILE, ROW = "hugectr2onnx_file", "hugectr2onnx_row"
"""Columns that carry each sample's file and row number, by which the result is put in the order of the data."""
DEFAULT_MASTER = "local[*]"


def scored(job: ClusterJob, *, address: str | None, batch_size: int) -> Any:
    """Return a Spark data frame of predictions, in the order of the data. Raises UnsupportedError where Spark is not installed.

    address: the master, such as "spark://host:7077" or "yarn"; None runs on this machine.
    """
    spark = _session(address, batch_size)
    from pyspark.sql import functions

    frame = spark.read.parquet(*job.paths)
    numbered = frame.select(
        *(functions.col(f"`{name}`") for name in job.columns),
        functions.col("_metadata.file_path").alias(FILE),
        functions.col("_metadata.row_index").alias(ROW),
    )
    found = numbered.mapInArrow(_mapper(job.scorer, job.paths), _schema(spark, job, numbered))
    return found.orderBy(FILE, ROW).drop(FILE, ROW)


def tables(job: ClusterJob, *, address: str | None, batch_size: int) -> Iterator[Any]:
    """Yield the predictions as Arrow tables, in the order of the data."""
    import pyarrow as pa

    yield pa.Table.from_batches(scored(job, address=address, batch_size=batch_size).toArrow().to_batches(batch_size))


def write(job: ClusterJob, folder: str, *, address: str | None, batch_size: int) -> None:
    """Let the workers write Parquet files into a new folder."""
    scored(job, address=address, batch_size=batch_size).write.mode("append").parquet(folder)


def _mapper(scorer: TableScorer, paths: tuple[str, ...]) -> Callable[[Iterator[Any]], Iterator[Any]]:
    """Yield a function of record batches; the number of a file is its place in the data set."""
    places = {path: place for place, path in enumerate(paths)}

    def run(batches: Iterator[Any]) -> Iterator[Any]:
        import pyarrow as pa

        for batch in batches:
            table = pa.Table.from_batches([batch])
            found = scorer(table)
            files = [places[unquote(urlsplit(each).path)] for each in table.column(FILE).to_pylist()]
            found = found.append_column(FILE, pa.array(files, pa.int64()))
            yield from found.append_column(ROW, table.column(ROW)).to_batches()

    return run


def _schema(spark: Any, job: ClusterJob, frame: Any) -> Any:
    """Return the types of the result: those of an empty table that went through the scorer."""
    import pyarrow as pa
    from pyspark.sql.pandas.types import from_arrow_schema, to_arrow_schema

    empty = to_arrow_schema(frame.select(*(f"`{name}`" for name in job.columns)).schema).empty_table()
    found = job.scorer(empty)
    found = found.append_column(FILE, pa.array([], pa.int64())).append_column(ROW, pa.array([], pa.int64()))
    return from_arrow_schema(found.schema)


def _session(address: str | None, batch_size: int) -> Any:
    try:
        from pyspark.sql import SparkSession
    except ImportError:
        raise UnsupportedError("the engine spark needs PySpark: pip install 'hugectr2onnx[spark]'") from None
    # Local workers must find the packages of this interpreter.
    os.environ.setdefault("PYSPARK_PYTHON", sys.executable)
    builder = SparkSession.builder.appName("hugectr2onnx predict")
    if address is not None or SparkSession.getActiveSession() is None:
        builder = builder.master(address or DEFAULT_MASTER)
    settings = {
        "spark.sql.execution.arrow.maxRecordsPerBatch": str(batch_size),
        "spark.ui.enabled": "false",
        "spark.sql.execution.arrow.pyspark.enabled": "true",
    }
    for name, value in settings.items():
        builder = builder.config(name, value)
    return builder.getOrCreate()
