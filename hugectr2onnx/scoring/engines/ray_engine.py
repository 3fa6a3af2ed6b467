"""`predict` on Ray Data: files are read, scored and written by a cluster's workers, each with a session of its own."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import suppress
from importlib import import_module
from typing import Any

from hugectr2onnx.errors import UnsupportedError
from hugectr2onnx.scoring.table_scorer import ClusterJob, TableScorer


class _Worker:
    """A stateful class for `map_batches`: Ray makes one for each worker."""

    def __init__(self, scorer: TableScorer) -> None:
        self.scorer = scorer

    def __call__(self, table: Any) -> Any:
        return self.scorer(table)


def scored(job: ClusterJob, *, address: str | None, batch_size: int, workers: int | None) -> Any:
    """Return a `ray.data.Dataset` of predictions in the order of the data. Raises UnsupportedError where Ray is not installed.

    address: of a running cluster, such as "auto" or "ray://host:10001"; None starts one on this machine.
    workers: None takes as many as the cluster has processors.
    """
    ray = _ray()
    if not ray.is_initialized():
        ray.init(address=address, include_dashboard=False, log_to_driver=False, logging_level="ERROR")
    context = ray.data.DataContext.get_current()
    context.execution_options.preserve_order = True
    context.enable_progress_bars = False
    data = ray.data.read_parquet(list(job.paths), columns=list(job.columns))
    cpus = [int(node["Resources"].get("CPU", 0)) for node in ray.nodes() if node["Alive"]]
    workers = workers or max(1, sum(cpus))
    return data.map_batches(
        _Worker,
        fn_constructor_args=(job.scorer,),
        batch_format="pyarrow",
        batch_size=batch_size,
        compute=ray.data.ActorPoolStrategy(size=workers),
        num_cpus=worker_cpus(cpus, workers),
    )


def worker_cpus(cpus: Sequence[int], workers: int) -> float:
    """Return the share of a processor that Ray counts for a worker, such that a whole one is left on some node.

    A worker holds its share as long as the job runs, and a task that reads or writes a file waits for a whole processor:
    where workers hold all of them, the job waits for ever. `cpus` are the processors of each node. Workers that together
    hold less than all nodes but one processor each leave one somewhere.
    """
    free = sum(max(0, each - 1) for each in cpus)
    # Ray counts in ten thousandths.
    return min(1.0, int(free / workers * 10_000) / 10_000)


def tables(job: ClusterJob, *, address: str | None, batch_size: int, workers: int | None) -> Iterator[Any]:
    """Yield the predictions as Arrow tables, in the order of the data."""
    data = scored(job, address=address, batch_size=batch_size, workers=workers)
    yield from data.iter_batches(batch_size=batch_size, batch_format="pyarrow")


def write(job: ClusterJob, folder: str, *, address: str | None, batch_size: int, workers: int | None) -> None:
    """Let the workers write Parquet files into a new folder."""
    scored(job, address=address, batch_size=batch_size, workers=workers).write_parquet(folder)


def _ray() -> Any:
    try:
        import ray
        import ray.data

        with suppress(ImportError):
            # Ray imports it in several threads at once, and one of them may see half of it; without aiohttp each of them can.
            import_module("fsspec.implementations.http")
    except ImportError:
        raise UnsupportedError("the engine ray needs Ray Data: pip install 'hugectr2onnx[ray]'") from None
    return ray
