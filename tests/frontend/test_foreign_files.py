"""Files that people give in place of a graph or of weights are told what they are."""

from __future__ import annotations

import gzip
import json
import struct
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import hugectr2onnx
from hugectr2onnx.errors import GraphJsonError, WeightsError
from hugectr2onnx.frontend.foreign_files import foreign_kind

SCRIPT = "import hugectr\nfrom mpi4py import MPI\nsolver = hugectr.CreateSolver(max_eval_batches=300)\n"
GRAPH: dict[str, Any] = {
    "layers": [
        {
            "type": "Data",
            "label": {"top": "y", "label_dim": 1},
            "dense": {"top": "dense", "dense_dim": 2},
            "sparse": [],
        },
        {"type": "InnerProduct", "bottom": "dense", "top": "fc1", "fc_param": {"num_output": 1}},
        {"type": "BinaryCrossEntropyLoss", "bottom": ["fc1", "y"], "top": "loss"},
    ]
}


def packed(path: Path) -> Path:
    """12 bytes of weights; gzip makes it a multiple of 4 bytes or not, as it likes."""
    path.write_bytes(gzip.compress(np.ones(3, "<f4").tobytes(), mtime=0))
    return path


def zipped(path: Path) -> Path:
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("wdl_dense_0.model", b"\0" * 12)
    return path


def sok(path: Path) -> Path:
    """A header of 296 bytes with big-endian numbers (formats 2.6)."""
    head = b"emb".rjust(256) + struct.pack(">I", 1) + b"emb".ljust(32, b"\0") + struct.pack(">I", 5)
    path.write_bytes(head + np.ones(3, "<f4").tobytes())
    return path


def written(path: Path, text: str) -> Path:
    path.write_text(text)
    return path


@pytest.mark.parametrize(
    ("name", "make", "kind"),
    [
        ("dense.model.gz", packed, "gzip-compressed: unpack it first"),
        ("snapshot.tgz", packed, "gzip-compressed: unpack it first"),
        ("dense.zip", zipped, "a zip archive"),
        ("emb-weight", sok, r"a dump of SparseOperationKit \(sok\.dump\)"),
        ("train.py", lambda path: written(path, SCRIPT), "a Python script"),
        ("ps.json", lambda path: written(path, '{"supportlonglong": true, "models": []}'), "a JSON text"),
    ],
)
def test_a_foreign_file_in_place_of_the_dense_weights(name: str, make: Any, kind: str, tmp_path: Path) -> None:
    with pytest.raises(WeightsError, match=kind):
        hugectr2onnx.compile(GRAPH, {"dense": make(tmp_path / name)})


@pytest.mark.parametrize(
    ("name", "make", "kind"),
    [
        ("graph.json.gz", packed, "it is gzip-compressed: unpack it first"),
        ("graph.zip", zipped, "it is a zip archive"),
        ("train.py", lambda path: written(path, SCRIPT), "it is a Python script"),
    ],
)
def test_a_foreign_file_in_place_of_the_graph(name: str, make: Any, kind: str, tmp_path: Path) -> None:
    with pytest.raises(GraphJsonError, match=kind):
        hugectr2onnx.compile(make(tmp_path / name), {})


@pytest.mark.parametrize(
    ("value", "kind"),
    [
        ({"supportlonglong": True, "models": []}, r"the configuration of an HPS deployment \(ps\.json\)"),
        ({"file_stats": [], "labels": [], "conts": [], "cats": []}, r"the _metadata\.json of a Parquet data set"),
        ({"path": "dump", "lookups": []}, "the description of an EmbeddingCollection"),
    ],
)
def test_a_json_file_that_is_no_graph(value: dict[str, Any], kind: str, tmp_path: Path) -> None:
    with pytest.raises(GraphJsonError, match=f'no "layers" in the graph .*; it is {kind}'):
        hugectr2onnx.compile(written(tmp_path / "x.json", json.dumps(value)), {})


def test_keys_that_begin_like_an_archive_are_keys(tmp_path: Path) -> None:
    """The key 559903 has the first bytes of gzip."""
    np.array([559_903, 7], "<i8").tofile(tmp_path / "key")
    np.ones((2, 1), "<f4").tofile(tmp_path / "emb_vector")
    graph = {"layers": [dict(layer) for layer in GRAPH["layers"]]}
    graph["layers"][0]["sparse"] = [{"top": "keys", "slot_num": 1, "nnz_per_slot": 1, "is_fixed_length": True}]
    table = {
        "type": "DistributedSlotSparseEmbeddingHash",
        "bottom": "keys",
        "top": "emb",
        "sparse_embedding_hparam": {"embedding_vec_size": 1, "combiner": "sum"},
    }
    graph["layers"].insert(1, table)
    dense = tmp_path / "d.model"
    np.ones(3, "<f4").tofile(dense)
    assert hugectr2onnx.compile(graph, {"dense": dense, "sparse": [tmp_path]}, simplify=False).report.tables == {
        "emb": 2
    }


def test_a_file_of_floats_is_nothing_known(tmp_path: Path) -> None:
    np.ones(300, "<f4").tofile(tmp_path / "d")
    assert foreign_kind(tmp_path / "d") is None
    assert foreign_kind(tmp_path / "none") is None
