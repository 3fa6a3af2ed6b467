"""Telling what an ONNX file holds."""

from __future__ import annotations

import json
import random
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from hugectr2onnx.errors import FeedError, HugeCTR2ONNXError
from hugectr2onnx.inspection.onnx_model import DataFile, inspect_onnx, is_onnx


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """y = sigmoid(table[map(x)]), the table in another file."""
    keys = {"keys_tensor": numpy_helper.from_array(np.array([5, -7, 1 << 40]))}
    values = {
        "values_tensor": numpy_helper.from_array(np.arange(3)),
        "default_tensor": numpy_helper.from_array(np.array([3])),
    }
    nodes = [
        helper.make_node("LabelEncoder", ["x"], ["row"], "emb/map", domain="ai.onnx.ml", **keys, **values),
        helper.make_node("Gather", ["table", "row"], ["v"], "emb/Gather"),
        helper.make_node("Sigmoid", ["v"], ["y"], "loss/Sigmoid"),
    ]
    for node, layer in zip(nodes, ("emb", "emb", "loss"), strict=True):
        node.metadata_props.add(key="hugectr.layer", value=layer)
    table = TensorProto(name="table", dims=(4, 2), data_type=TensorProto.FLOAT, data_location=TensorProto.EXTERNAL)
    for key, value in (("location", "m.onnx.data"), ("offset", "4096"), ("length", "32")):
        table.external_data.add(key=key, value=value)
    inputs = [helper.make_tensor_value_info("x", TensorProto.INT64, ["N", 26])]
    outputs = [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["N", 26, 2])]
    graph = helper.make_graph(nodes, "mine", inputs, outputs, [table])
    opsets = [helper.make_opsetid("", 17), helper.make_opsetid("ai.onnx.ml", 4)]
    model = helper.make_model(graph, opset_imports=opsets, ir_version=8, producer_name="somebody", producer_version="2")
    helper.set_model_props(model, {"note": "hello"})
    path = tmp_path / "m.onnx"
    path.write_bytes(model.SerializeToString())
    return path


def test_interface_operators_and_layers(file: Path) -> None:
    summary = inspect_onnx(file)
    assert [(each.name, each.type) for each in summary.inputs] == [("x", "i64[N, 26]")]
    assert [(each.name, each.type) for each in summary.outputs] == [("y", "f32[N, 26, 2]")]
    assert summary.operators == {"Gather": 1, "Sigmoid": 1, "ai.onnx.ml.LabelEncoder": 1}
    assert summary.layers == {"emb": 2, "loss": 1}
    assert summary.nodes == 3


def test_keys_of_a_table(file: Path) -> None:
    (table,) = inspect_onnx(file).tables
    assert (table.node, table.layers) == ("emb/map", "emb")
    assert (table.keys, table.smallest_key, table.largest_key) == (3, -7, 1 << 40)


def test_what_the_file_says_about_itself(file: Path) -> None:
    summary = inspect_onnx(file)
    assert (summary.graph_name, summary.producer, summary.ir_version) == ("mine", "somebody 2", 8)
    assert summary.opsets == {"ai.onnx": 17, "ai.onnx.ml": 4}
    assert summary.metadata == {"note": "hello"}
    assert summary.bytes == file.stat().st_size


def test_constants_in_another_file(file: Path) -> None:
    summary = inspect_onnx(file)
    (table,) = summary.tensors
    assert (table.name, table.type, table.bytes, table.file) == ("table", "f32[4, 2]", 32, "m.onnx.data")
    assert summary.data_files == (DataFile(str(file.parent / "m.onnx.data"), 4128, None),)


def test_the_other_file_is_measured(file: Path) -> None:
    (file.parent / "m.onnx.data").write_bytes(b"\0" * 100)
    assert inspect_onnx(file).data_files[0].found_bytes == 100


def test_the_summary_is_ready_for_json(file: Path) -> None:
    assert json.loads(json.dumps(inspect_onnx(file).to_dict()))["graph_name"] == "mine"


@pytest.mark.parametrize("content", [b"", b"{}", b"\x00\xff", onnx.ModelProto(ir_version=8).SerializeToString()])
def test_a_file_that_is_no_model(content: bytes, tmp_path: Path) -> None:
    (tmp_path / "m.onnx").write_bytes(content)
    with pytest.raises(FeedError, match="ONNX file"):
        inspect_onnx(tmp_path / "m.onnx")


def test_a_tensor_that_is_nowhere(file: Path) -> None:
    model = onnx.load(file, load_external_data=False)
    del model.graph.initializer[0].external_data[:]
    file.write_bytes(model.SerializeToString())
    with pytest.raises(FeedError, match="'table' lies outside the model"):
        inspect_onnx(file)


def test_a_file_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(FeedError, match=r"nothere\.onnx: no such file, expected an ONNX file"):
        inspect_onnx(tmp_path / "nothere.onnx")


def test_damaged_files_give_a_summary_or_an_error_of_ours(file: Path) -> None:
    generator, whole = random.Random(0), file.read_bytes()
    for _ in range(200):
        damaged = bytearray(whole)
        for _ in range(generator.choice((1, 3))):
            damaged[generator.randrange(len(damaged))] = generator.randrange(256)
        file.write_bytes(damaged)
        try:
            json.dumps(inspect_onnx(file).to_dict())
        except HugeCTR2ONNXError:
            continue


@pytest.mark.parametrize(
    ("name", "content", "expected"),
    [
        ("a.onnx", b"{}", True),
        ("a.json", b"\x08\x08", False),
        ("A.ONNX", b"", True),
        ("graph", b"  \n {}", False),
        ("graph", b"\xef\xbb\xbf{}", False),
        ("model", b"\x08\x08\x12", True),
        ("empty", b"", False),
    ],
)
def test_graph_or_model(name: str, content: bytes, expected: bool, tmp_path: Path) -> None:
    (tmp_path / name).write_bytes(content)
    assert is_onnx(tmp_path / name) is expected


def test_what_cannot_be_opened_is_left_to_the_reader_of_json(tmp_path: Path) -> None:
    assert not is_onnx(tmp_path)
    assert not is_onnx(tmp_path / "nothere")
