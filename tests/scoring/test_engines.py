"""Ray and Spark, really started on this machine, give the local engine's predictions in the same order."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest

from hugectr2onnx.errors import UnsupportedError
from hugectr2onnx.scoring.predict import predict

MODULES = {"ray": "ray.data", "spark": "pyspark.sql"}


@pytest.mark.engines
@pytest.mark.slow
@pytest.mark.parametrize("engine", MODULES)
def test_an_engine_gives_the_same_bits_in_the_same_order(engine: Any, wdl: Any) -> None:
    pytest.importorskip(MODULES[engine])
    sizes = json.loads((wdl.data.parents[1] / "slot_size_array.json").read_text())["slot_size_array"]
    options = {"slot_size_array": sizes, "metrics": ["auc"]}
    local = predict(wdl.onnx, wdl.data, **options)
    found = predict(wdl.onnx, wdl.data, engine=engine, threads=1, **options)
    np.testing.assert_array_equal(found.columns["prediction"], local.columns["prediction"])
    np.testing.assert_array_equal(found.columns["label"], local.columns["label"])
    assert found.scores == local.scores


@pytest.mark.parametrize(
    ("data", "options", "message"),
    [([], {}, "give a path, not a list"), ("x", {"float_dense": True}, "leave out float_dense")],
)
def test_what_an_engine_cannot_read_is_refused_before_it_starts(
    data: Any, options: Any, message: str, wdl: Any
) -> None:
    with pytest.raises(UnsupportedError, match=message):
        predict(wdl.onnx, data, engine="ray", **options)
