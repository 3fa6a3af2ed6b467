"""A survey loads what can be loaded and collects each error."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np

from hugectr2onnx.errors import ErrorCollector, WeightsError
from hugectr2onnx.frontend.survey import survey
from hugectr2onnx.options import Options

DATA: dict[str, Any] = {
    "type": "Data",
    "label": {"top": "label", "label_dim": 1},
    "dense": {"top": "dense", "dense_dim": 3},
    "sparse": [],
}


def fully_connected(bottom: str, top: str, units: object) -> dict[str, object]:
    return {"type": "InnerProduct", "bottom": bottom, "top": top, "fc_param": {"num_output": units}}


def test_all_files_and_the_graph_are_tried_though_each_is_wrong(tmp_path: Path) -> None:
    (tmp_path / "d.model").write_bytes(b"123")
    (tmp_path / "n.json").write_text("[")
    found = survey({"layers": 3}, {"dense": tmp_path / "d.model", "ntp": tmp_path / "n.json"})
    assert found.layers is None
    graph, dense, statistics = map(str, found.errors)
    assert "layers: expected a list" in graph
    assert "d.model: has 3 bytes" in dense
    assert "n.json" in statistics


def test_a_short_dense_file_hides_no_layer(tmp_path: Path) -> None:
    np.zeros(2, np.float32).tofile(tmp_path / "d.model")
    graph = {"layers": [DATA, fully_connected("dense", "a", 4), fully_connected("a", "b", 1)]}
    found = survey(graph, {"dense": tmp_path / "d.model"})
    assert found.errors == ()
    assert found.files.dense is not None and found.files.dense.size == 2
    assert found.layers is not None
    # (3 + 1) * 4 floats of the first layer, 4 + 1 of the second.
    assert [(each.tops, each.floats) for each in found.layers.importer.summaries] == [(("a",), 16), (("b",), 5)]


def test_without_weights_the_layers_are_still_imported() -> None:
    found = survey({"layers": [DATA, fully_connected("dense", "a", 4)]})
    assert found.layers is not None
    assert [str(value.type) for value in found.layers.importer.graph.outputs.values()] == ["f32[N, 4]"]


def test_each_wrong_layer_is_an_error_of_the_import() -> None:
    layers = [DATA, fully_connected("dense", "a", "x"), fully_connected("dense", "b", "y")]
    found = survey({"layers": layers})
    assert found.layers is not None
    first, second = found.layers.importer.errors
    assert "layers[1]" in str(first) and "layers[2]" in str(second)


def test_what_the_dense_file_tells_is_in_the_options(tmp_path: Path) -> None:
    """A cross layer of width 3 with a projection of 2 has 2 * 3 * 2 weights and 3 biases (layers 3.9)."""
    np.zeros(2 * 3 * 2 + 3, np.float32).tofile(tmp_path / "d.model")
    cross = {"type": "MultiCross", "bottom": "dense", "top": "x", "mc_param": {"num_layers": 1}}
    found = survey({"layers": [DATA, cross]}, {"dense": tmp_path / "d.model"}, Options())
    assert found.layers is not None
    assert found.resolved.options.layer_attrs == {"x": {"projection_dim": 2}}
    assert found.layers.recovered == ("x: projection_dim 2 follows from the dense file's size",)


def test_a_collector_keeps_the_errors_and_gives_nothing_for_them() -> None:
    def fail() -> int:
        raise WeightsError("too short")

    collector = ErrorCollector()
    assert (collector.attempt(fail), collector.attempt(json.loads, "3")) == (None, 3)
    assert list(map(str, collector.errors)) == ["too short"]
