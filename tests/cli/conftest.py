"""A model small enough to compute by hand, and the command line as a function."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from hugectr2onnx.cli import main

KEYS = np.array([7, 1 << 40, 5], np.int64)
VECTORS = np.array([1.0, -2.0, 0.5], np.float32)


@dataclass(frozen=True)
class Model:
    """label = sigmoid(0.5 * x0 - x1 + 0.25 + sum of the vectors of two keys)."""

    folder: Path

    @property
    def graph(self) -> Path:
        return self.folder / "tiny.json"

    @property
    def dense(self) -> Path:
        return self.folder / "tiny_dense_100.model"

    @property
    def table(self) -> Path:
        return self.folder / "tiny0_sparse_100.model"

    @property
    def arguments(self) -> list[str]:
        return [str(self.graph), "--weights", str(self.folder)]

    def change(self, edit: Callable[[list[dict[str, Any]]], None]) -> None:
        """Edit the layers of the graph JSON."""
        graph = json.loads(self.graph.read_text())
        edit(graph["layers"])
        self.graph.write_text(json.dumps(graph))

    @staticmethod
    def predict(dense: np.ndarray, keys: np.ndarray) -> np.ndarray:
        looked_up = dict(zip(KEYS.tolist(), VECTORS.tolist(), strict=True))
        wide = np.array([[sum(looked_up.get(key, 0.0) for key in row)] for row in keys.reshape(len(keys), -1).tolist()])
        logit = dense.astype(np.float64) @ [[0.5], [-1.0]] + 0.25 + wide
        return 1 / (1 + np.exp(-logit))


LAYERS: list[dict[str, Any]] = [
    {
        "type": "Data",
        "label": {"top": "label", "label_dim": 1},
        "dense": {"top": "dense", "dense_dim": 2},
        "sparse": [{"top": "keys", "slot_num": 1, "nnz_per_slot": [2], "is_fixed_length": False}],
    },
    {
        "type": "DistributedSlotSparseEmbeddingHash",
        "bottom": "keys",
        "top": "emb",
        "sparse_embedding_hparam": {"embedding_vec_size": 1, "combiner": "sum"},
    },
    {"type": "Reshape", "bottom": "emb", "top": "wide", "leading_dim": 1},
    {"type": "InnerProduct", "bottom": "dense", "top": "fc", "fc_param": {"num_output": 1}},
    {"type": "Add", "bottom": ["fc", "wide"], "top": "logit"},
    {"type": "BinaryCrossEntropyLoss", "bottom": ["logit", "label"], "top": "loss"},
]


@pytest.fixture
def model(tmp_path: Path) -> Model:
    model = Model(tmp_path / "model")
    model.table.mkdir(parents=True)
    model.graph.write_text(json.dumps({"layers": LAYERS}))
    model.dense.write_bytes(np.array([0.5, -1.0, 0.25], "<f4").tobytes())
    (model.table / "key").write_bytes(KEYS.astype("<i8").tobytes())
    (model.table / "emb_vector").write_bytes(VECTORS.astype("<f4").tobytes())
    return model


@dataclass(frozen=True)
class Result:
    """What a call of the command line gave."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        return json.loads(self.out)


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str]) -> Callable[..., Result]:
    """`hugectr2onnx ...` in this process."""

    def call(*arguments: object) -> Result:
        code = main([str(argument) for argument in arguments])
        captured = capsys.readouterr()
        return Result(code, captured.out, captured.err)

    return call


@pytest.fixture
def compiled(model: Model, run: Callable[..., Result], tmp_path: Path) -> Path:
    """The model as an ONNX file."""
    path = tmp_path / "tiny.onnx"
    assert run("compile", *model.arguments, "-o", path, "--no-simplify").code == 0
    return path
