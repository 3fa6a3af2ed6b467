"""Boxes find places of their own, whichever library lays them out."""

from __future__ import annotations

from collections.abc import Callable
from itertools import combinations

import pytest

import hugectr2onnx
from hugectr2onnx.drawing.diagram import Box, Diagram, Edge
from hugectr2onnx.drawing.layout import PageLayout, Point, Rectangle, lay_out
from hugectr2onnx.sample_models.catalog import SamplePaths


def overlap(a: Rectangle, b: Rectangle) -> bool:
    return a.x < b.right and b.x < a.right and a.y < b.bottom and b.y < a.bottom


def touches(point: Point, place: Rectangle) -> bool:
    return place.x - 3 <= point[0] <= place.right + 3 and place.y - 3 <= point[1] <= place.bottom + 3


def check(diagram: Diagram, placed: PageLayout) -> None:
    assert not [pair for pair in combinations(placed.boxes, 2) if overlap(*pair)]
    assert min(place.x for place in placed.boxes) >= -0.1
    assert max(place.right for place in placed.boxes) <= placed.width + 0.1
    assert max(place.bottom for place in placed.boxes) <= placed.height + 0.1
    at = {box.name: place for box, place in zip(diagram.boxes, placed.boxes, strict=True)}
    for group, frame in zip(diagram.groups, placed.groups, strict=True):
        assert all(frame.x <= at[name].x and at[name].right <= frame.right for name in group.boxes)
        assert all(frame.y <= at[name].y and at[name].bottom <= frame.bottom for name in group.boxes)
    for edge, curve in zip(diagram.edges, placed.edges, strict=True):
        assert touches(curve.points[0], at[edge.source]), edge
        assert touches(curve.points[-1], at[edge.target]), edge


@pytest.mark.parametrize("name", ["wdl", "bst", "mmoe"])
def test_no_box_covers_another_and_edges_join_theirs(
    name: str, engine: str, sample: Callable[[str], SamplePaths]
) -> None:
    (diagram,) = hugectr2onnx.draw(sample(name).graph).diagrams
    placed = lay_out(diagram)
    assert placed.engine == engine
    check(diagram, placed)


def test_edges_keep_their_labels_whatever_order_graphviz_has(engine: str) -> None:
    boxes = tuple(Box(name, name, "other") for name in "abcd")
    edges = (Edge("b", "c", "first"), Edge("a", "c", "second"), Edge("c", "d", "third"))
    check(Diagram("four", boxes, edges), lay_out(Diagram("four", boxes, edges)))
