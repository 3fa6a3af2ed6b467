"""Files that became shorter after they were mapped."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import helper

from hugectr2onnx.backend.onnx.artifact import Artifact, Blob, external_tensor
from hugectr2onnx.backend.saving.truncation import check_not_truncated
from hugectr2onnx.errors import WeightsError
from hugectr2onnx.tables.gathered import Converted, Gathered, TensorData
from hugectr2onnx.tables.row_format import FP16

SIZE = 4096
SHORTER = "a file of 4,096 bytes that the model is made of has become shorter, 1,000 bytes, since it was opened"


def mapped(path: Path, dtype: type = np.float32) -> np.memmap:
    path.write_bytes(bytes(SIZE))
    return np.memmap(path, dtype, "r")


def artifact_of(part: TensorData) -> Artifact:
    blob = Blob((part,))
    graph = helper.make_graph([], "g", [], [], [external_tensor("table", blob)])
    return Artifact(helper.make_model(graph), {"table": blob})


def as_is(path: Path) -> TensorData:
    return mapped(path)


def in_another_order(path: Path) -> TensorData:
    return Gathered(mapped(path).reshape(-1, 1), np.arange(3))


def by_an_order_in_a_file(path: Path) -> TensorData:
    return Gathered(np.zeros((SIZE, 1), np.float32), mapped(path, np.int64))


def converted(path: Path) -> TensorData:
    return Converted(mapped(path).reshape(-1, 4), FP16)


@pytest.mark.parametrize("part", [as_is, in_another_order, by_an_order_in_a_file, converted])
def test_a_source_behind_a_tensor(part: object, tmp_path: Path) -> None:
    artifact = artifact_of(part(tmp_path / "emb_vector"))  # type: ignore[operator]
    check_not_truncated(artifact)
    os.truncate(tmp_path / "emb_vector", 1000)
    with pytest.raises(WeightsError, match=SHORTER):
        check_not_truncated(artifact)


def test_an_array_that_is_no_tensor_of_the_model(tmp_path: Path) -> None:
    keys = mapped(tmp_path / "key", np.int64)
    os.truncate(tmp_path / "key", 1000)
    with pytest.raises(WeightsError, match=SHORTER):
        check_not_truncated(Artifact(onnx.ModelProto(), {}), [keys])


def test_arrays_in_memory_have_no_file(tmp_path: Path) -> None:
    check_not_truncated(artifact_of(np.zeros(3, np.float32)), [np.arange(3)])
