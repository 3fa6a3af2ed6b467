"""`outputs` makes any tensor of the graph an output, and leaves out what it does not need."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import hugectr2onnx
from hugectr2onnx.errors import OptionError

WEIGHT = np.array([[0.5], [-1.0]], np.float32)
BIAS = np.array([0.25], np.float32)
ROWS = np.array([[1.0], [2.0], [4.0]], np.float32)
LAYERS = [
    {
        "type": "Data",
        "label": {"top": "label", "label_dim": 1},
        "dense": {"top": "dense", "dense_dim": 2},
        "sparse": [{"top": "keys", "slot_num": 1, "nnz_per_slot": [1], "is_fixed_length": True}],
    },
    {
        "type": "DistributedSlotSparseEmbeddingHash",
        "bottom": "keys",
        "top": "emb",
        "sparse_embedding_hparam": {"embedding_vec_size": 1, "combiner": "sum"},
    },
    {"type": "Reshape", "bottom": "emb", "top": "wide", "leading_dim": 1},
    {"type": "InnerProduct", "bottom": "dense", "top": "fc", "fc_param": {"num_output": 1}},
    {"type": "ReLU", "bottom": "fc", "top": "tower"},
    {"type": "Add", "bottom": ["tower", "wide"], "top": "logit"},
    {"type": "BinaryCrossEntropyLoss", "bottom": ["logit", "label"], "top": "loss"},
]
DENSE = np.array([[2.0, 0.5], [-1.0, 3.0]], np.float32)
KEYS = np.array([[[11]], [[12]]])
TOWER = np.maximum(DENSE @ WEIGHT + BIAS, 0)
LOGIT = TOWER + np.array([[2.0], [4.0]], np.float32)


@pytest.fixture
def files(tmp_path: Path) -> tuple[Path, dict[str, Any]]:
    (tmp_path / "g.json").write_text(json.dumps({"layers": LAYERS}))
    table = tmp_path / "m0_sparse_0.model"
    table.mkdir()
    np.array([10, 11, 12]).tofile(table / "key")
    ROWS.tofile(table / "emb_vector")
    np.concatenate([WEIGHT.ravel(), BIAS]).tofile(tmp_path / "m_dense_0.model")
    return tmp_path / "g.json", {"dense": tmp_path / "m_dense_0.model", "sparse": [table]}


@pytest.mark.parametrize("level", [0, 1, 2, 3])
def test_a_logit_stands_beside_the_prediction(files: Any, level: int) -> None:
    model = hugectr2onnx.compile(*files, level, outputs=["label", "logit"])
    found = model.run({"dense": DENSE, "keys": KEYS})
    np.testing.assert_allclose(found["logit"], LOGIT, rtol=1e-6)
    np.testing.assert_allclose(found["label"], 1 / (1 + np.exp(-LOGIT)), rtol=1e-6)


@pytest.mark.parametrize("level", [0, 2])
def test_a_tower_alone_needs_neither_tables_nor_keys(files: Any, level: int) -> None:
    model = hugectr2onnx.compile(*files, level, outputs=["tower"])
    np.testing.assert_allclose(model.run({"dense": DENSE})["tower"], TOWER, rtol=1e-6)
    assert [each.name for each in model.model.graph.input] == ["dense"]
    assert 4 * ROWS.size not in [len(each.raw_data) for each in model.model.graph.initializer]


def test_an_embedding_alone(files: Any) -> None:
    found = hugectr2onnx.compile(*files, outputs=["emb"]).run({"keys": KEYS})
    np.testing.assert_array_equal(found["emb"], [[[2.0]], [[4.0]]])


@pytest.mark.parametrize(
    ("name", "message"),
    [("towel", r"outputs names 'towel', which is not a tensor of the graph \(.*tower"), ("dense", "which is an input")],
)
def test_a_name_that_cannot_be_an_output_is_refused(files: Any, name: str, message: str) -> None:
    with pytest.raises(OptionError, match=message):
        hugectr2onnx.compile(*files, outputs=[name])


def test_verify_takes_the_outputs_from_the_file(files: Any, tmp_path: Path) -> None:
    hugectr2onnx.compile(*files, outputs=["tower"]).save(tmp_path / "a.onnx")
    assert hugectr2onnx.verify(tmp_path / "a.onnx", *files)


def test_a_data_set_keeps_the_columns_that_a_tower_does_not_take(files: Any) -> None:
    pa = pytest.importorskip("pyarrow")
    table = pa.table(
        {
            "label": pa.array([0.0, 1.0], pa.float32()),
            "I1": pa.array(DENSE[:, 0]),
            "I2": pa.array(DENSE[:, 1]),
            "C1": pa.array(KEYS[:, 0, 0]),
        }
    )
    model = hugectr2onnx.compile(*files, outputs=["tower"])
    ((inputs, labels),) = hugectr2onnx.open_dataset(table, model)
    assert list(inputs) == ["dense"]
    assert labels["label"].tolist() == [[0.0], [1.0]]
