"""What a cluster engine's failure leaves and says, without an engine."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from hugectr2onnx.errors import FeedError
from hugectr2onnx.scoring.cluster import ClusterRun, cluster_run

pa = pytest.importorskip("pyarrow")
pq = pytest.importorskip("pyarrow.parquet")


class FailingRun(ClusterRun):
    """An engine that writes half of its files, then hides the worker's error in one of its own."""

    def _tables(self) -> Iterator[Any]:
        yield from ()
        raise RuntimeError("task 7 failed")

    def _written(self, folder: str) -> Iterator[None]:
        yield
        Path(folder).mkdir(exist_ok=True)
        (Path(folder) / "half.parquet").write_text("half")
        raise RuntimeError("RayTaskError(FeedError): a table: column 'C3' has a null at row 3")


def failing(wdl: Any, data: Path) -> FailingRun:
    run = cluster_run("ray", wdl.onnx, data, {}, address=None, batch_size=100, workers=None)
    return FailingRun(run.engine, run.job, run.outputs, run.address, run.batch_size, run.workers)


def test_damage_is_named_with_its_file_and_nothing_half_is_left(wdl: Any, tmp_path: Path) -> None:
    data = tmp_path / "data"
    data.mkdir()
    whole = pq.read_table(wdl.data.parent / "gen_0.parquet")
    pq.write_table(whole, data / "0.parquet")
    keys = [*whole["C3"].to_pylist()[:-1], None]
    pq.write_table(whole.set_column(whole.schema.names.index("C3"), "C3", pa.array(keys)), data / "1.parquet")
    with pytest.raises(FeedError, match=rf"1\.parquet: column 'C3' has a null at row {len(keys) - 1}"):
        failing(wdl, data).write(str(tmp_path / "out"))
    assert not (tmp_path / "out").exists()


def test_another_failure_is_told_as_the_engine_tells_it(wdl: Any) -> None:
    with pytest.raises(FeedError, match="the engine ray failed: task 7 failed"):
        list(failing(wdl, wdl.data).batches())
