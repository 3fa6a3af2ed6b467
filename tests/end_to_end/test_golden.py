"""Single layers against expected outputs that NVIDIA's CPU code, or an independent reading of its kernels, computed.

The vectors are data (see tests/golden/README.md). Each is a model of one layer, compiled through the public API at every
level, with the batch symbolic and with all shapes fixed.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import hugectr2onnx

FOLDER = Path(__file__).parents[1] / "golden"
VECTORS = sorted(path.stem for path in FOLDER.glob("*.npz"))
LAYERS = [name for name in VECTORS if not name.startswith("Embedding")]
EMBEDDINGS = [name for name in VECTORS if name.startswith("Embedding_")]
LOST = ("shape", "dim", "index")
LEVELS = (0, 1, 2, 3)


def load(name: str) -> dict[str, np.ndarray]:
    with np.load(FOLDER / f"{name}.npz") as file:
        return dict(file)


def numbered(vector: dict[str, np.ndarray], prefix: str) -> dict[str, np.ndarray]:
    return {name: array for name, array in vector.items() if name.startswith(prefix) and name[len(prefix) :].isdigit()}


def write_weights(vector: dict[str, np.ndarray], folder: Path) -> dict[str, Path]:
    files = {"dense": folder / "model_dense_0.model"}
    files["dense"].write_bytes(vector.get("wbuf", np.empty(0)).astype("<f4").tobytes())
    if "ntp_mean" in vector:
        entry = {
            "type": "BatchNorm",
            "mean": vector["ntp_mean"].ravel().tolist(),
            "var": vector["ntp_var"].ravel().tolist(),
        }
        files["ntp"] = folder / "ntp.json"
        files["ntp"].write_text(json.dumps({"layers": [entry]}))
    return files


def data_layer(**sparse: Any) -> dict[str, Any]:
    label, dense = {"top": "label", "label_dim": 1}, {"top": "dense", "dense_dim": 0}
    return {"type": "Data", "label": label, "dense": dense, "sparse": [sparse] if sparse else []}


def assert_close(vector: dict[str, np.ndarray], found: dict[str, np.ndarray]) -> None:
    expected = numbered(vector, "out")
    assert len(found) == len(expected)
    for array, wanted in zip(found.values(), expected.values(), strict=True):
        assert array.shape == wanted.shape
        difference = np.abs(array.astype(np.float64) - wanted)
        assert np.all(difference <= vector["atol"] + vector["rtol"] * np.abs(wanted)), difference.max()


def input_shapes(name: str, inputs: dict[str, np.ndarray], dynamic: bool) -> dict[str, tuple[Any, ...]]:
    """Symbolic first dimensions, where it is a batch: the right operand of a 2D product is none."""
    first_only = name.startswith("MatrixMultiply") and inputs["in0"].ndim == 2
    batch = {key for key in inputs if dynamic and (key == "in0" or not first_only)}
    return {key: ("N" if key in batch else array.shape[0], *array.shape[1:]) for key, array in inputs.items()}


@pytest.mark.parametrize("dynamic", [True, False], ids=["batch", "fixed"])
@pytest.mark.parametrize("name", LAYERS)
def test_layer(name: str, dynamic: bool, tmp_path: Path) -> None:
    vector = load(name)
    layer = json.loads(str(vector["attrs"]))
    lost = {key: layer.pop(key) for key in LOST if key in layer}
    inputs = numbered(vector, "in")
    graph = {"layers": [data_layer(), layer]}
    weights = write_weights(vector, tmp_path)
    for level in LEVELS:
        compiled = hugectr2onnx.compile(
            graph,
            weights,
            level,
            input_shapes=input_shapes(name, inputs, dynamic),
            layer_attrs={"out0": lost} if lost else None,
            simplify=dynamic,
        )
        assert_close(vector, compiled.run(inputs))


@pytest.mark.parametrize("name", EMBEDDINGS)
def test_embedding(name: str, tmp_path: Path) -> None:
    vector = load(name)
    layer = json.loads(str(vector["attrs"])) | {"bottom": "keys"}
    keys, table = vector["x_keys_padded"], vector["w_table"]
    folder = tmp_path / "model0_sparse_0.model"
    folder.mkdir()
    order = np.random.default_rng(0).permutation(len(table))
    (folder / "key").write_bytes(order.astype("<i8").tobytes())
    (folder / "emb_vector").write_bytes(table[order].astype("<f4").tobytes())
    slots, nnz = keys.shape[1:]
    data = data_layer(top="keys", slot_num=slots, nnz_per_slot=[nnz] * slots, is_fixed_length=False)
    weights = write_weights(vector, tmp_path) | {"sparse": [folder]}
    for level in LEVELS:
        compiled = hugectr2onnx.compile({"layers": [data, layer]}, weights, level)
        assert_close(vector, compiled.run({"keys": keys}))
