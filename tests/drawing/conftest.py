"""Sample models on disk, and both ways to lay a drawing out."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from functools import cache

import pytest

from hugectr2onnx.drawing import layout
from hugectr2onnx.sample_models.catalog import SamplePaths, write_sample


@pytest.fixture(scope="session")
def sample(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], SamplePaths]:
    @cache
    def write(name: str) -> SamplePaths:
        return write_sample(name, tmp_path_factory.mktemp(name) / "files", rows=50)

    return write


@pytest.fixture(params=["Graphviz", "networkx"])
def engine(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    if request.param == "networkx":
        monkeypatch.setattr(layout.shutil, "which", lambda program: None)
    elif shutil.which("dot") is None:
        pytest.skip("Graphviz is not installed")
    return str(request.param)


@pytest.fixture
def without_graphviz(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(layout.shutil, "which", lambda program: None)
