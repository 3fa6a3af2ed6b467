"""Large tables of a model file, mapped for reading only."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from hugectr2onnx.backend.runtime import shared_initializers
from hugectr2onnx.backend.saving.save import save
from tests.backend.saving.models import WIDTH, model_of

ROWS = 4
SIZE = ROWS * WIDTH * 4


@pytest.fixture
def model(tmp_path: Path) -> Path:
    save(model_of(7, rows=ROWS), tmp_path / "m.onnx", external=True)
    return tmp_path / "m.onnx"


def test_large_tensors_are_maps_that_nobody_can_write_to(model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shared_initializers, "LARGE", SIZE)
    tensors = shared_initializers.large_tensors(model)
    assert sorted(tensors) == ["other", "table"]
    for array in tensors.values():
        np.testing.assert_array_equal(array, np.full((ROWS, WIDTH), 7, np.float32))
        assert not array.flags.writeable


def test_smaller_tensors_are_left_to_onnxruntime(model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shared_initializers, "LARGE", SIZE + 1)
    assert shared_initializers.large_tensors(model) == {}
