"""The sample model wdl with tables of 60 rows, compiled once."""

from __future__ import annotations

from pathlib import Path

import pytest

import hugectr2onnx
from hugectr2onnx.sample_models import SamplePaths, write_sample


@pytest.fixture(scope="session")
def wdl(tmp_path_factory: pytest.TempPathFactory) -> SamplePaths:
    return write_sample("wdl", tmp_path_factory.mktemp("wdl"), rows=60)


@pytest.fixture(scope="session")
def wdl_files(wdl: SamplePaths, tmp_path_factory: pytest.TempPathFactory) -> dict[int, Path]:
    """The file of levels 0 and 2."""
    folder = tmp_path_factory.mktemp("files")
    for level in (0, 2):
        hugectr2onnx.compile(wdl.graph, wdl.weights, level, simplify=False).save(folder / f"level{level}.onnx")
    return {level: folder / f"level{level}.onnx" for level in (0, 2)}
