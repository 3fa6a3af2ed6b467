"""A small model with a data set that its own logits label, in Parquet."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import pytest

import hugectr2onnx
from hugectr2onnx.sample_models import write_sample
from hugectr2onnx.sample_models.catalog import SamplePaths
from hugectr2onnx.sample_models.data_sets import write_data_set


@dataclass(frozen=True)
class Trained:
    sample: SamplePaths
    onnx: Path
    data: Path
    """The file list of val/."""


@pytest.fixture(scope="session")
def wdl(tmp_path_factory: pytest.TempPathFactory) -> Trained:
    pytest.importorskip("pyarrow")
    folder = tmp_path_factory.mktemp("wdl")
    sample = write_sample("wdl", folder / "model")
    hugectr2onnx.compile(sample.graph, sample.weights).save(folder / "wdl.onnx")
    _, val = write_data_set(sample, folder / "data", rows=5000)
    return Trained(sample, folder / "wdl.onnx", val)
