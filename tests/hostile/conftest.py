"""A small model of many parts on disk, and what the tests of hostile input ask of it."""

from __future__ import annotations

import copy
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import hugectr2onnx
from hugectr2onnx import CompiledModel, HugeCTR2ONNXError

DENSE = "model_dense_0.model"
NTP = f"{DENSE}.ntp.json"
DISTRIBUTED = "model0_sparse_0.model"
LOCALIZED = "model1_sparse_0.model"
GRAPH: dict[str, Any] = {
    "layers": [
        {
            "type": "Data",
            "label": {"top": "label", "label_dim": 1},
            "dense": {"top": "dense", "dense_dim": 3},
            "sparse": [
                {"top": "data1", "slot_num": 2, "nnz_per_slot": [1, 2], "is_fixed_length": False},
                {"top": "data2", "slot_num": 1, "nnz_per_slot": [1], "is_fixed_length": True},
            ],
        },
        {
            "type": "DistributedSlotSparseEmbeddingHash",
            "bottom": "data1",
            "top": "emb1",
            "sparse_embedding_hparam": {"embedding_vec_size": 4, "combiner": "mean"},
        },
        {
            "type": "LocalizedSlotSparseEmbeddingHash",
            "bottom": "data2",
            "top": "emb2",
            "sparse_embedding_hparam": {"embedding_vec_size": 2, "combiner": "sum"},
        },
        {"type": "Reshape", "bottom": "emb1", "top": "flat1", "leading_dim": 8},
        {"type": "Reshape", "bottom": "emb2", "top": "flat2", "leading_dim": 2},
        {"type": "Concat", "bottom": ["dense", "flat1", "flat2"], "top": "joined"},
        {"type": "BatchNorm", "bottom": "joined", "top": "bn", "bn_param": {"factor": 0.9, "eps": 1e-5}},
        {"type": "InnerProduct", "bottom": "bn", "top": "fc1", "fc_param": {"num_output": 1}},
        {"type": "BinaryCrossEntropyLoss", "bottom": ["fc1", "label"], "top": "loss"},
    ]
}
FLOATS = 2 * 13 + 13 + 1
"""gamma and beta of BatchNorm, weight and bias of InnerProduct."""


class Model:
    """The files of the model in a folder, its graph as a dict to be changed, and the compiler."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.graph = copy.deepcopy(GRAPH)
        generator = np.random.default_rng(0)
        self.write(DENSE, generator.normal(0, 0.3, FLOATS).astype("<f4"))
        self.write(f"{DISTRIBUTED}/key", np.array([4, 0, 9, 33, 2**62], "<i8"))
        self.write(f"{DISTRIBUTED}/emb_vector", generator.normal(0, 1, (5, 4)).astype("<f4"))
        self.write(f"{LOCALIZED}/key", np.array([7, 1, 5], "<i8"))
        self.write(f"{LOCALIZED}/slot_id", np.array([0, 0, 0], "<i8"))
        self.write(f"{LOCALIZED}/emb_vector", generator.normal(0, 1, (3, 2)).astype("<f4"))
        self.write_ntp([0.1] * 13, [1.0] * 13)

    @property
    def layers(self) -> list[dict[str, Any]]:
        return self.graph["layers"]

    def layer(self, top: str) -> dict[str, Any]:
        return next(layer for layer in self.layers if layer.get("top") == top)

    def path(self, name: str) -> Path:
        return self.folder / name

    def write(self, name: str, content: bytes | np.ndarray) -> None:
        path = self.path(name)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content if isinstance(content, bytes) else content.tobytes())

    def write_ntp(self, mean: Any, var: Any, **more: Any) -> None:
        self.write(NTP, json.dumps({"layers": [{"type": "BatchNorm", "mean": mean, "var": var, **more}]}).encode())

    def feeds(self, batch: int = 4) -> dict[str, np.ndarray]:
        generator = np.random.default_rng(batch)
        return {
            "dense": generator.normal(0, 1, (batch, 3)).astype(np.float32),
            "data1": generator.integers(-1, 10, (batch, 2, 2)),
            "data2": generator.integers(-1, 10, (batch, 1, 1)),
        }

    def compile(self, opt_level: int = 0, **options: Any) -> CompiledModel:
        """The model compiled from its folder, without onnxsim, which no hostile input reaches."""
        given = {"graph": self.graph, "weights": self.folder, "simplify": False, **options}
        return hugectr2onnx.compile(opt_level=opt_level, **given)

    def refusal(self, **options: Any) -> str:
        """What the error says; fails where the model compiles, or where the error is not one that input deserves."""
        try:
            compiled = self.compile(**options)
        except (hugectr2onnx.CompilerError, hugectr2onnx.ParityError) as error:
            raise AssertionError(f"bad input reached the compiler's own checks: {error!r}") from error
        except HugeCTR2ONNXError as error:
            return error.describe()
        raise AssertionError(f"compiled: {compiled!r}")


@pytest.fixture
def model(tmp_path: Path) -> Model:
    folder = tmp_path / "snapshot"
    folder.mkdir()
    return Model(folder)


def _is_ours(call: Callable[[], object]) -> bool:
    try:
        call()
    except HugeCTR2ONNXError as error:
        return not isinstance(error, hugectr2onnx.CompilerError | hugectr2onnx.ParityError)
    return True


@pytest.fixture
def survives() -> Callable[[Callable[[], object]], bool]:
    """Whether a call succeeds or fails with an error that input deserves; any other error passes through."""
    return _is_ours
