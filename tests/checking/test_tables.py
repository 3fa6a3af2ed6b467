"""The tables of a dry run, in the folders of v3.1 and the single files before it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import hugectr2onnx
from hugectr2onnx.checking.table_sizes import table_sizes
from hugectr2onnx.frontend.weights.snapshot import Weights
from hugectr2onnx.options import Options
from hugectr2onnx.tables.row_format import FP32, INT8

WIDTH = 4
KEYS = np.array([7, 3, 1 << 40], "<i8")


def graph(folder: Path) -> Path:
    sparse = [{"top": "keys", "slot_num": 2, "nnz_per_slot": [1, 1], "is_fixed_length": True}]
    label, dense = {"top": "label", "label_dim": 1}, {"top": "dense", "dense_dim": 0}
    hparam = {"embedding_vec_size": WIDTH, "combiner": "sum"}
    layers = [
        {"type": "Data", "label": label, "dense": dense, "sparse": sparse},
        {
            "type": "DistributedSlotSparseEmbeddingHash",
            "bottom": "keys",
            "top": "emb",
            "sparse_embedding_hparam": hparam,
        },
        {"type": "Reshape", "bottom": "emb", "top": "flat", "leading_dim": 2 * WIDTH},
    ]
    path = folder / "m.json"
    path.write_text(json.dumps({"layers": layers}))
    return path


def single_file(folder: Path) -> Path:
    """Rows of a key of 8 bytes and 4 floats, one after the other (formats 2.3)."""
    rows = np.zeros(len(KEYS), np.dtype([("key", "<i8"), ("vector", "<f4", WIDTH)]))
    rows["key"] = KEYS
    path = folder / "m0_sparse_0.model"
    rows.tofile(path)
    return path


def table_folder(folder: Path) -> Path:
    path = folder / "m0_sparse_0.model"
    path.mkdir()
    KEYS.tofile(path / "key")
    np.zeros((len(KEYS), WIDTH), "<f4").tofile(path / "emb_vector")
    return path


@pytest.mark.parametrize("write", [single_file, table_folder])
def test_rows_keys_and_bytes_of_the_vectors(write: Any, tmp_path: Path) -> None:
    report = hugectr2onnx.check(graph(tmp_path), Weights(sparse=[write(tmp_path)], key_bytes=8))
    assert report.problems == ()
    (table,) = report.tables
    assert (table.rows, table.smallest_key, table.largest_key) == (3, 3, 1 << 40)
    assert (table.expected_bytes, table.found_bytes) == (48, 48)
    assert table.has_slot_ids is False


def test_short_vectors_are_found_as_short(tmp_path: Path) -> None:
    path = table_folder(tmp_path)
    np.zeros(11, "<f4").tofile(path / "emb_vector")
    report = hugectr2onnx.check(graph(tmp_path), Weights(sparse=[path]))
    (table,) = report.tables
    assert (table.expected_bytes, table.found_bytes) == (48, 44)
    assert report.exit_code == 3


def test_sizes_without_opening_anything(tmp_path: Path) -> None:
    path = table_folder(tmp_path)
    (path / "key").unlink()
    weights = Weights(sparse=[path])
    assert list(table_sizes(graph(tmp_path), weights, Options())) == [("emb", 48, FP32, 4)]
    assert list(table_sizes(graph(tmp_path), weights, Options(embedding={"emb": "int8"}))) == [("emb", 48, INT8, 4)]
    assert list(table_sizes(graph(tmp_path), weights, Options(convert_embedding=False))) == []
    assert list(table_sizes(graph(tmp_path), weights, Options(input_shapes={"emb": ("N", 2, 4)}))) == []


def test_a_file_of_another_version_has_no_size_yet(tmp_path: Path) -> None:
    assert list(table_sizes(graph(tmp_path), Weights(sparse=[single_file(tmp_path)]), Options())) == []


def test_which_runtimes_will_take_the_model(tmp_path: Path) -> None:
    path = table_folder(tmp_path)

    def openvino(keys: str) -> str:
        report = hugectr2onnx.check(graph(tmp_path), Weights(sparse=[path]), keys=keys)
        (found,) = [each for each in report.runs_on if each.runtime == "OpenVINO"]
        return found.verdict

    assert [openvino(keys) for keys in ("label-encoder", "perfect-hash", "indices")] == ["no", "no", "yes"]
    np.arange(3, dtype="<i8").tofile(path / "key")
    assert openvino("direct") == "yes, if"
    (np.arange(3, dtype="<i8") + (1 << 31)).tofile(path / "key")
    assert openvino("direct") == "no"


def test_without_a_forecast_nothing_is_said_of_runtimes(tmp_path: Path) -> None:
    assert hugectr2onnx.check(graph(tmp_path)).runs_on == ()
