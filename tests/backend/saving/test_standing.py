"""Tensors that lie in the folder already."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest

from hugectr2onnx.backend.onnx.artifact import Artifact, Blob
from hugectr2onnx.backend.onnx.onnx_file import ExternalTensor
from hugectr2onnx.backend.saving.save import save
from hugectr2onnx.backend.saving.standing import require_standing, standing_tensors
from hugectr2onnx.errors import FeedError
from tests.backend.saving.models import WIDTH, model_of


@pytest.fixture
def earlier(tmp_path: Path) -> Path:
    """A model of two tables, both of them filled with 1."""
    save(model_of(1), tmp_path / "old.onnx", external=True)
    return tmp_path / "old.onnx"


def with_table(table: np.ndarray) -> Artifact:
    artifact = model_of(1)
    return Artifact(artifact.skeleton, {**artifact.tensors, "table": Blob((table,))})


def standing(artifact: Artifact, earlier: Path) -> list[str]:
    return sorted(standing_tensors(artifact, earlier, earlier.parent))


def test_all_tensors_of_the_same_model(earlier: Path) -> None:
    assert standing(model_of(1), earlier) == ["other", "table"]


def test_a_table_in_which_one_number_differs_does_not_stand(earlier: Path) -> None:
    table = np.ones((2, WIDTH), np.float32)
    table[-1, -1] = 2
    assert standing(with_table(table), earlier) == ["other"]


def test_the_sign_of_a_zero_is_a_difference(tmp_path: Path) -> None:
    save(model_of(0.0), tmp_path / "old.onnx", external=True)
    assert standing(model_of(-0.0), tmp_path / "old.onnx") == []


def test_a_model_in_another_folder_lends_nothing(earlier: Path, tmp_path: Path) -> None:
    assert standing_tensors(model_of(1), earlier, tmp_path / "elsewhere") == {}


def test_an_inline_model_lends_nothing(tmp_path: Path) -> None:
    save(model_of(1), tmp_path / "old.onnx")
    assert standing(model_of(1), tmp_path / "old.onnx") == []


def test_what_is_not_a_model(tmp_path: Path) -> None:
    (tmp_path / "old.onnx").write_text("no model")
    with pytest.raises(FeedError, match=r"old\.onnx: is not an ONNX file"):
        standing_tensors(model_of(1), tmp_path / "old.onnx", tmp_path)


def test_a_file_that_went_meanwhile_is_named(earlier: Path) -> None:
    places: dict[str, ExternalTensor] = standing_tensors(model_of(1), earlier, earlier.parent)
    require_standing(places)
    data = next(iter(places.values())).path
    os.unlink(data)
    with pytest.raises(
        FeedError, match=r"\.data: was removed while the model that refers to it was written; save again"
    ):
        require_standing(places)
