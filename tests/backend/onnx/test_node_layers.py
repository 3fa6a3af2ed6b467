"""The layers of a node, written and read."""

from __future__ import annotations

import pytest
from onnx import helper

from hugectr2onnx.backend.onnx.node_layers import LAYER_KEY, layers_of, note_layers


@pytest.mark.parametrize("layers", [("fc1",), ("fc1", "relu1")])
def test_layers_come_back_in_their_order(layers: tuple[str, ...]) -> None:
    node = helper.make_node("Gemm", ["x"], ["y"])
    note_layers(node, layers)
    assert layers_of(node) == layers
    assert [entry.key for entry in node.metadata_props] == [LAYER_KEY]


def test_a_node_of_no_layer_says_nothing() -> None:
    node = helper.make_node("Relu", ["x"], ["y"])
    note_layers(node, ())
    assert list(node.metadata_props) == []
    assert layers_of(node) == ()
