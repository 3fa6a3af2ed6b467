"""ONNX files are read within their folder: what they refer to elsewhere is refused."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

from hugectr2onnx.backend.onnx.onnx_file import as_artifact, begins_as_own_model, external_tensors, read_model
from hugectr2onnx.errors import FeedError

ROWS = np.arange(6, dtype="<f4").reshape(2, 3)


def model_at(location: str, offset: str = "0", length: str = "24") -> onnx.ModelProto:
    """rows = table[keys], the table in another file."""
    table = TensorProto(name="table", data_type=TensorProto.FLOAT, dims=[2, 3])
    table.data_location = TensorProto.EXTERNAL
    for key, value in (("location", location), ("offset", offset), ("length", length)):
        table.external_data.add(key=key, value=value)
    graph = helper.make_graph(
        [helper.make_node("Gather", ["table", "keys"], ["rows"])],
        "g",
        [helper.make_tensor_value_info("keys", TensorProto.INT64, ["N"])],
        [helper.make_tensor_value_info("rows", TensorProto.FLOAT, ["N", 3])],
        [table],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8, producer_name="other")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder with the table, beside one that is nobody's business."""
    (tmp_path / "models").mkdir()
    (tmp_path / "secret").write_bytes(ROWS.tobytes())
    (tmp_path / "models" / "table").write_bytes(ROWS.tobytes())
    return tmp_path / "models"


def test_a_table_beside_the_model_is_mapped(folder: Path) -> None:
    found = as_artifact(model_at("table"), folder / "m.onnx").tensors["table"]
    np.testing.assert_array_equal(found.materialise(), ROWS)


@pytest.mark.parametrize("location", ["../secret", "/etc/passwd", "a/../../secret", "..\\secret"])
def test_a_path_that_leaves_the_folder(folder: Path, location: str) -> None:
    with pytest.raises(FeedError, match=r"'table' lies in .*, which is outside of the model's own folder"):
        external_tensors(model_at(location), folder / "m.onnx")


def test_a_link_that_leaves_the_folder(folder: Path) -> None:
    (folder / "link").symlink_to("../secret")
    with pytest.raises(FeedError, match=r"lies in .*link, which is outside of the model's own folder"):
        external_tensors(model_at("link"), folder / "m.onnx")


def test_a_hard_link_out_of_the_folder(folder: Path) -> None:
    os.link(folder.parent / "secret", folder / "hard")
    with pytest.raises(
        FeedError, match=r"lies in .*hard, which has another name outside of the model's own folder \(a hard link\)"
    ):
        external_tensors(model_at("hard"), folder / "m.onnx")


def test_links_within_the_folder_will_do(folder: Path) -> None:
    os.link(folder / "table", folder / "hard")
    (folder / "link").symlink_to("hard")
    assert external_tensors(model_at("link"), folder / "m.onnx")["table"].path == folder / "link"


@pytest.mark.parametrize(("offset", "length"), [("-8", "24"), ("0", "x"), ("1e3", "24"), ("0", "9" * 30)])
def test_places_that_make_no_sense(folder: Path, offset: str, length: str) -> None:
    with pytest.raises(FeedError, match="the model does not say where"):
        external_tensors(model_at("table", offset, length), folder / "m.onnx")


@pytest.mark.parametrize(
    ("offset", "length", "message"), [("4", "24", "too short"), ("0", "20", "has 24 bytes, not 20")]
)
def test_a_table_that_does_not_fit_its_place(folder: Path, offset: str, length: str, message: str) -> None:
    with pytest.raises(FeedError, match=message):
        as_artifact(model_at("table", offset, length), folder / "m.onnx")


def test_a_pipe_in_place_of_data(folder: Path) -> None:
    os.mkfifo(folder / "pipe")
    with pytest.raises(FeedError, match="pipe: is a pipe, expected the data of an ONNX file"):
        as_artifact(model_at("pipe"), folder / "m.onnx")


def test_a_device_in_place_of_the_model(folder: Path) -> None:
    (folder / "m.onnx").symlink_to("/dev/zero")
    with pytest.raises(FeedError, match=r"m\.onnx: is a device, expected an ONNX file"):
        read_model(folder / "m.onnx")


@pytest.mark.parametrize("producer", ["hugectr2onnx", "hugectr2onnx2", "", "other"])
def test_whose_model_a_file_is(producer: str) -> None:
    model = model_at("table")
    model.producer_name, model.ir_version = producer, 300
    assert begins_as_own_model(model.SerializeToString()) == (producer == "hugectr2onnx")
