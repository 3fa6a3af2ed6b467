"""A weight changed by 1e-2 in each kind of layer that has weights: the layer and the weight are named."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

import hugectr2onnx
from hugectr2onnx.comparison.compare import compare

DATA = {
    "type": "Data",
    "label": {"top": "label", "label_dim": 1},
    "dense": {"top": "dense", "dense_dim": 0},
    "sparse": [],
}
GRU = {"num_output": 2, "batchsize": 3, "SeqLength": 4, "vector_size": 5}
UNREAD = "initial_state"
"""The file holds it, and inference begins with zeros (layers 3.12)."""
FORMS: dict[str, tuple[dict[str, Any], tuple[Any, ...], list[tuple[str, tuple[int, ...]]]]] = {
    "InnerProduct": ({"fc_param": {"num_output": 3}}, ("N", 4), [("weight", (4, 3)), ("bias", (3,))]),
    "FusedInnerProduct": ({"fc_param": {"num_output": 3}}, ("N", 4), [("weight", (4, 3)), ("bias", (3,))]),
    "MLP": (
        {"mlp_param": {"num_output": 1, "num_outputs": [3, 1], "activation": "None"}},
        ("N", 4),
        [("weight", (4, 3)), ("bias", (3,)), ("weight", (3, 1)), ("bias", (1,))],
    ),
    "MultiCross": ({"mc_param": {"num_layers": 1}}, ("N", 3), [("weight", (3, 1)), ("bias", (3,))]),
    "LayerNorm": ({"ln_param": {"eps": 1e-5}}, ("N", 3), [("gamma", (3,)), ("beta", (3,))]),
    "WeightMultiply": ({"weight_dims": [2, 3]}, ("N", 2), [("weight", (2, 3))]),
    "GRU": (
        {"gru_param": GRU},
        (3, 20),
        [*[("", (2, 5))] * 3, *[("", (2, 2))] * 3, *[("", (2,))] * 3, (UNREAD, (3, 2))],
    ),
}
"""Of each type: parameters, the shape of the bottom, and the weights in the order of the dense file, by names and shapes."""
CASES = [
    (type, place)
    for type, (_, _, weights) in FORMS.items()
    for place, (name, _) in enumerate(weights)
    if name != UNREAD
]


def write(folder: Path, weights: list[np.ndarray]) -> dict[str, Path]:
    folder.mkdir()
    (folder / "m_dense_0.model").write_bytes(b"".join(array.astype("<f4").tobytes() for array in weights))
    return {"dense": folder / "m_dense_0.model"}


@pytest.mark.parametrize("level", [0, 2])
@pytest.mark.parametrize(("type", "place"), CASES)
def test_the_layer_and_its_weight_are_named(tmp_path: Path, type: str, place: int, level: int) -> None:
    parameters, shape, kinds = FORMS[type]
    generator = np.random.default_rng(3)
    weights = [generator.uniform(0.2, 1, each).astype(np.float32) for _, each in kinds]
    changed = [array.copy() for array in weights]
    changed[place].reshape(-1)[-1] += np.float32(0.01)
    graph = {"layers": [DATA, {"type": type, "bottom": "in0", "top": "out0", **parameters}]}
    options = hugectr2onnx.Options(input_shapes={"in0": shape}, simplify=False, check=False)
    path = tmp_path / "changed.onnx"
    hugectr2onnx.compile(graph, write(tmp_path / "changed", changed), level, options=options).save(path)
    found = compare(graph, path, weights=write(tmp_path / "own", weights)).first
    assert found is not None
    assert found.layer == "out0"
    name, _ = kinds[place]
    assert f"out0.{name}" in str(found.cause)
