"""The kinds of store that need no server."""

from __future__ import annotations

import pytest

from .models import Model, write_model


@pytest.fixture(params=["parquet", "rocksdb"])
def kind(request: pytest.FixtureRequest) -> str:
    """A kind of store whose package is installed."""
    pytest.importorskip({"parquet": "pyarrow", "rocksdb": "rocksdict"}[request.param])
    return str(request.param)


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Model:
    return write_model(tmp_path_factory.mktemp("model"))
