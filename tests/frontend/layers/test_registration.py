"""Layers from outside the package: registered with a reference, which is compared with their expansion."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import hugectr2onnx
from hugectr2onnx.errors import CompilerError, UnsupportedError
from hugectr2onnx.frontend.layers import registration
from hugectr2onnx.frontend.layers.layer import REGISTRY, Layer, Weight, param
from hugectr2onnx.frontend.layers.registration import Example, register_layer
from hugectr2onnx.ir.graph import Value
from hugectr2onnx.ir.ops.elementwise import Sigmoid
from hugectr2onnx.ir.types import TensorType


@dataclass(frozen=True)
class Gate(Layer):
    """`x * weight * sigmoid(beta * x)`, with a weight for each column."""

    beta: float = param("gate_param.beta", default=1.0)

    def weights(self, x: TensorType) -> Iterator[Weight]:
        columns = x.shape[-1]
        assert isinstance(columns, int)
        yield Weight("weight", (columns,))

    def build(self, x: Value, weight: Value) -> Value:
        return x * weight * Sigmoid()(x * self.beta)


def reference(layer: Any, x: Any, weight: Any) -> Any:
    return x * weight / (1 + np.exp(-layer.beta * x))


EXAMPLES = [Example([(3,)], {"gate_param": {"beta": 0.5}}), Example([(2, 3)])]
GRAPH = {
    "layers": [
        {
            "type": "Data",
            "label": {"top": "y", "label_dim": 1},
            "dense": {"top": "dense", "dense_dim": 3},
            "sparse": [],
        },
        {"type": "Gate", "bottom": "dense", "top": "gate", "gate_param": {"beta": 0.5}},
    ]
}
X, WEIGHT = np.array([[-2, 0, 0.5]], np.float32), np.array([1, 2, 3], "<f4")


@pytest.fixture(autouse=True)
def unregistered() -> Iterator[None]:
    """Registered layers stay for the life of a process; those of these tests must not."""
    before = dict(REGISTRY)
    registration.load_plugins.cache_clear()
    yield
    REGISTRY.clear()
    REGISTRY.update(before)
    registration.load_plugins.cache_clear()


@pytest.fixture
def weights(tmp_path: Path) -> dict[str, Path]:
    WEIGHT.tofile(tmp_path / "d")
    return {"dense": tmp_path / "d"}


@pytest.mark.parametrize("level", [0, 1, 2, 3])
def test_a_registered_layer_compiles(weights: dict[str, Path], level: int) -> None:
    hugectr2onnx.register_layer("Gate", Gate, reference=reference, examples=EXAMPLES)
    answer = hugectr2onnx.compile(GRAPH, weights, level, simplify=False).run({"dense": X})["gate"]
    np.testing.assert_allclose(answer, X * WEIGHT / (1 + np.exp(-0.5 * X)), rtol=1e-5)


def test_a_reference_that_computes_something_else_is_refused() -> None:
    with pytest.raises(CompilerError, match=r"Gate: out0 differs in 15 of 15 numbers; at \[0, 0\] the expansion gives"):
        register_layer("Gate", Gate, reference=lambda layer, x, w: x * w, examples=EXAMPLES)
    assert "Gate" not in REGISTRY


def test_a_reference_of_another_shape_is_refused() -> None:
    with pytest.raises(CompilerError, match=r"has the shape \[5, 3\] by its expansion, \[5\] by its reference"):
        register_layer("Gate", Gate, reference=lambda layer, x, w: x.sum(1), examples=EXAMPLES)


def test_a_reference_of_another_number_of_tops_is_refused() -> None:
    with pytest.raises(CompilerError, match="its expansion gives 1 tops, its reference 2"):
        register_layer("Gate", Gate, reference=lambda layer, x, w: (x, w), examples=EXAMPLES)


def test_an_example_is_required() -> None:
    with pytest.raises(CompilerError, match="give at least one example"):
        register_layer("Gate", Gate, reference=reference, examples=[])


def test_a_name_that_is_taken_is_refused() -> None:
    with pytest.raises(CompilerError, match="the layer type ReLU is registered already"):
        register_layer("ReLU", Gate, reference=reference, examples=EXAMPLES)


# Installed packages


def offered(monkeypatch: pytest.MonkeyPatch, value: str) -> None:
    """As if an installed package had an entry point."""
    point = metadata.EntryPoint("gates", value, registration.ENTRY_POINTS)
    monkeypatch.setattr(metadata, "entry_points", lambda *, group: [point] if group == point.group else [])


def register() -> None:
    register_layer("Gate", Gate, reference=reference, examples=EXAMPLES)


def test_layers_of_installed_packages_are_loaded_only_when_asked(
    weights: dict[str, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    offered(monkeypatch, f"{__name__}:register")
    with pytest.raises(UnsupportedError, match="Gate"):
        hugectr2onnx.compile(GRAPH, weights)
    assert list(hugectr2onnx.compile(GRAPH, weights, load_plugins=True, simplify=False).run({"dense": X})) == ["gate"]


@pytest.mark.parametrize("value", ["no_such_module:register", f"{__name__}:GRAPH"])
def test_an_entry_point_that_fails_is_named(
    value: str, weights: dict[str, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    offered(monkeypatch, value)
    with pytest.raises(CompilerError, match=r"the layers of gates \(.*\) cannot be loaded: "):
        hugectr2onnx.compile(GRAPH, weights, load_plugins=True)
