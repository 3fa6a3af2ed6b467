"""Ray and Spark, really started on this machine, give the local engine's predictions in the same order."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from hugectr2onnx.errors import UnsupportedError
from hugectr2onnx.scoring.engines.ray_engine import worker_cpus
from hugectr2onnx.scoring.predict import predict

QUIET = pytest.mark.filterwarnings("ignore::Warning")
"""What the engines themselves call deprecated is none of our business."""
MODULES = {"ray": "ray.data", "spark": "pyspark.sql"}


def options_of(engine: str, wdl: Any) -> dict[str, Any]:
    pytest.importorskip(MODULES[engine])
    if engine == "spark" and shutil.which("java") is None and "JAVA_HOME" not in os.environ:
        pytest.skip("Spark needs a Java runtime, and there is none")
    return {
        "slot_size_array": json.loads((wdl.data.parents[1] / "slot_size_array.json").read_text())["slot_size_array"]
    }


@pytest.mark.engines
@pytest.mark.slow
@QUIET
@pytest.mark.parametrize("engine", MODULES)
def test_an_engine_gives_the_same_bits_in_the_same_order(engine: Any, wdl: Any) -> None:
    options = {**options_of(engine, wdl), "metrics": ["auc"]}
    local = predict(wdl.onnx, wdl.data, **options)
    found = predict(wdl.onnx, wdl.data, engine=engine, **options)
    np.testing.assert_array_equal(found.columns["prediction"], local.columns["prediction"])
    np.testing.assert_array_equal(found.columns["label"], local.columns["label"])
    assert found.scores == local.scores


@pytest.mark.engines
@pytest.mark.slow
@QUIET
@pytest.mark.parametrize("engine", MODULES)
def test_the_workers_write_the_same_rows_into_a_folder(engine: Any, wdl: Any, tmp_path: Path) -> None:
    options = options_of(engine, wdl)
    local = predict(wdl.onnx, wdl.data, **options)
    done = predict(wdl.onnx, wdl.data, tmp_path / "out", engine=engine, threads=1, **options)
    import pyarrow.parquet as pq

    found = pq.read_table(tmp_path / "out")
    assert (done.rows, found.num_rows) == (local.rows, local.rows)
    # Parts of a folder are in the order of their names, which is the order of the data.
    np.testing.assert_array_equal(found.column("prediction").to_numpy(), local.columns["prediction"].reshape(-1))


@pytest.mark.engines
@pytest.mark.slow
@QUIET
@pytest.mark.parametrize("engine", MODULES)
def test_files_come_in_the_order_of_their_list(engine: Any, wdl: Any, tmp_path: Path) -> None:
    """Files of one name in several folders, in an order that is not that of their names."""
    import pyarrow.parquet as pq

    options = options_of(engine, wdl)
    table = pq.read_table(wdl.data.parent).slice(0, 300)
    paths = [tmp_path / place / "part 0.parquet" for place in ("b", "c", "a")]
    for at, path in enumerate(paths):
        path.parent.mkdir()
        pq.write_table(table.slice(100 * at, 100), path, row_group_size=30)
    files = tmp_path / "_file_list.txt"
    files.write_text("3\n" + "".join(f"{path}\n" for path in paths))
    local = predict(wdl.onnx, files, **options)
    found = predict(wdl.onnx, files, engine=engine, batch_size=70, **options)
    assert local.rows == 300
    np.testing.assert_array_equal(found.columns["prediction"], local.columns["prediction"])


def test_a_file_that_is_listed_twice_is_refused(wdl: Any, tmp_path: Path) -> None:
    """Ray leaves the second out, and Spark mixes the rows of both."""
    files = tmp_path / "_file_list.txt"
    files.write_text(f"2\n{wdl.data.parent / 'gen_0.parquet'}\n{wdl.data.parent / 'gen_0.parquet'}\n")
    with pytest.raises(UnsupportedError, match=r"lists .*gen_0.parquet more than once"):
        predict(wdl.onnx, files, engine="spark")


@pytest.mark.parametrize(
    ("cpus", "workers"),
    [([1], 1), ([1], 4), ([2], 2), ([2], 1), ([8], 8), ([8], 3), ([1, 1], 2), ([4, 4, 0], 8), ([3], 7)],
)
def test_workers_leave_a_whole_processor_to_the_tasks_that_read(cpus: list[int], workers: int) -> None:
    """However they are put on the nodes, some node has a processor that no worker holds a share of, or they hold none."""
    share = worker_cpus(cpus, workers)
    assert 0 <= share <= 1
    assert share == 0 or share * workers <= sum(cpus) - sum(each > 0 for each in cpus)


@pytest.mark.parametrize(
    ("data", "options", "message"),
    [([], {}, "give a path, not a list"), ("x", {"float_dense": True}, "leave out float_dense")],
)
def test_what_an_engine_cannot_read_is_refused_before_it_starts(
    data: Any, options: Any, message: str, wdl: Any
) -> None:
    with pytest.raises(UnsupportedError, match=message):
        predict(wdl.onnx, data, engine="ray", **options)
