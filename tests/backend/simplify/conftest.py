"""The child process that the tests of this folder share."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from hugectr2onnx.backend.simplify.worker import Worker


@pytest.fixture(scope="module")
def worker() -> Iterator[Worker]:
    child = Worker()
    yield child
    child.close()
