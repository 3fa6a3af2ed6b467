"""The diagram of an ONNX file, ours and another's."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

import hugectr2onnx
from hugectr2onnx.drawing.from_onnx import diagram_of_model
from hugectr2onnx.errors import FeedError
from hugectr2onnx.sample_models.catalog import SamplePaths


def test_nodes_of_our_files_stand_in_the_groups_of_their_layers(
    sample: Callable[[str], SamplePaths], tmp_path: Path
) -> None:
    paths = sample("wdl")
    hugectr2onnx.compile(paths.graph, paths.weights).save(tmp_path / "wdl.onnx")
    (diagram,) = hugectr2onnx.draw(tmp_path / "wdl.onnx").diagrams
    assert {"sparse_embedding1", "sparse_embedding2"} <= {group.title for group in diagram.groups}
    assert sum(box.kind == "table" for box in diagram.boxes) == 2
    assert {box.title for box in diagram.boxes if box.kind == "interface"} == {
        "dense",
        "wide_data",
        "deep_data",
        "label",
    }


def test_a_file_of_somebody_else_is_drawn_without_groups() -> None:
    weight = numpy_helper.from_array(np.ones((3, 2), np.float32), "w")
    graph = helper.make_graph(
        [helper.make_node("MatMul", ["x", "w"], ["y"]), helper.make_node("Transpose", ["y"], ["z"], perm=[1, 0])],
        "g",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["N", 3])],
        [helper.make_tensor_value_info("z", TensorProto.FLOAT, [2, "N"])],
        [weight],
    )
    diagram = diagram_of_model(onnx.helper.make_model(graph), "theirs")
    assert [(box.title, box.kind, box.lines) for box in diagram.boxes] == [
        ("x", "interface", ("input", "[N, 3]")),
        ("MatMul", "product", ("w float[3, 2], 24 B",)),
        ("Transpose", "move", ("perm=[1, 0]",)),
        ("z", "interface", ("output", "[2, N]")),
    ]
    assert [(edge.source, edge.target) for edge in diagram.edges] == [
        ("input:x", "node0"),
        ("node0", "node1"),
        ("node1", "output:z"),
    ]
    assert diagram.groups == ()


def test_what_is_no_onnx_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "x.onnx").write_bytes(b"not a model")
    with pytest.raises(FeedError, match=r"x\.onnx"):
        hugectr2onnx.draw(tmp_path / "x.onnx")
