"""The diagram of a graph, before and after the passes."""

from __future__ import annotations

from collections.abc import Callable

import pytest

import hugectr2onnx
from hugectr2onnx.drawing.diagram import Box, Diagram, Edge, groups_of
from hugectr2onnx.sample_models.catalog import SamplePaths

Sample = Callable[[str], SamplePaths]


def diagrams(sample: Sample, name: str) -> tuple[Diagram, ...]:
    paths = sample(name)
    return hugectr2onnx.draw(paths.graph, paths.weights, before_after=True).diagrams


def test_a_layer_is_a_group_with_its_type(sample: Sample) -> None:
    before, _ = diagrams(sample, "wdl")
    groups = {group.title: group.boxes for group in before.groups}
    assert [box.title for box in before.boxes if box.name in groups["InnerProduct fc1"]] == ["mat_mul", "add"]


def test_a_fused_operation_names_the_layers_that_it_holds(sample: Sample) -> None:
    _, after = diagrams(sample, "wdl")
    (fused,) = [box for box in after.boxes if box.layers == ("fc1", "relu1")]
    assert fused.title == "linear"
    assert "activation=relu" in fused.lines
    assert "InnerProduct fc1 + ReLU relu1" in [group.title for group in after.groups]


def test_a_table_is_a_box_with_rows_and_bytes(sample: Sample) -> None:
    before, _ = diagrams(sample, "wdl")
    table = next(box for box in before.boxes if box.kind == "table" and box.layers == ("sparse_embedding1",))
    rows = 50 * 4 * 4  # 50 rows of 4 floats, a wdl of the catalog
    assert "sparse_embedding1.vectors f32[50, 4], 800 B" in table.lines
    assert table.bytes == rows + 50 * 8


def test_weights_stand_in_the_box_that_reads_them(sample: Sample) -> None:
    before, _ = diagrams(sample, "wdl")
    product = next(box for box in before.boxes if box.layers == ("fc1",) and box.kind == "product")
    assert product.lines == ("fc1.weight f32[117, 32], 15.0 kB",)
    assert product.bytes == 117 * 32 * 4


def test_edges_carry_the_type_of_the_tensor(sample: Sample) -> None:
    before, _ = diagrams(sample, "wdl")
    assert Edge("%deep_data", "%sparse_embedding1", "i64[N, 26, 1]") in before.edges
    assert any(edge.target == "output:label" and edge.label == "f32[N, 1]" for edge in before.edges)


@pytest.mark.parametrize("name", ["bst", "mmoe", "dlrm", "neumf"])
def test_every_edge_joins_two_boxes_of_the_diagram(name: str, sample: Sample) -> None:
    for diagram in diagrams(sample, name):
        known = {box.name for box in diagram.boxes}
        assert len(known) == len(diagram.boxes)
        assert {name for edge in diagram.edges for name in (edge.source, edge.target)} <= known


def test_without_weights_no_number_of_rows_is_told(sample: Sample) -> None:
    (diagram,) = hugectr2onnx.draw(sample("wdl").graph).diagrams
    assert [box.lines for box in diagram.boxes if box.kind == "table"] == [(), ()]


def test_the_notes_say_what_each_pass_did(sample: Sample) -> None:
    paths = sample("wdl")
    notes = hugectr2onnx.draw(paths.graph, paths.weights, before_after=True).notes
    assert any(note.startswith("fuse_bias: fuse_matmul_add x3 (") for note in notes)


def test_a_box_without_layers_stands_in_no_group() -> None:
    assert groups_of([Box("x", "x", "interface")]) == ()
