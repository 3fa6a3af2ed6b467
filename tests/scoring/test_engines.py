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
    found = predict(wdl.onnx, wdl.data, engine=engine, threads=1, **options)
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


@pytest.mark.parametrize(
    ("data", "options", "message"),
    [([], {}, "give a path, not a list"), ("x", {"float_dense": True}, "leave out float_dense")],
)
def test_what_an_engine_cannot_read_is_refused_before_it_starts(
    data: Any, options: Any, message: str, wdl: Any
) -> None:
    with pytest.raises(UnsupportedError, match=message):
        predict(wdl.onnx, data, engine="ray", **options)
