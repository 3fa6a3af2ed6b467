"""The layers are found by themselves."""

from __future__ import annotations

from pathlib import Path

from hugectr2onnx.frontend import layers
from hugectr2onnx.frontend.layers.layer import REGISTRY
from hugectr2onnx.frontend.layers.loss import Loss


def test_every_module_of_the_package_gives_layers():
    modules = {path.stem for path in Path(layers.__file__).parent.glob("*.py")} - {"__init__", "layer", "registration"}
    assert modules == {layer.__module__.rpartition(".")[2] for layer in REGISTRY.values()}


def test_losses_are_told_from_other_layers():
    losses = {name for name, layer in REGISTRY.items() if issubclass(layer, Loss)}
    assert losses == {"BinaryCrossEntropyLoss", "CrossEntropyLoss", "MultiCrossEntropyLoss"}


def test_an_older_name_means_the_same_layer():
    assert REGISTRY["DotProduct"] is REGISTRY["ElementwiseMultiply"]
    assert REGISTRY["Multiply"] is REGISTRY["WeightMultiply"]
