"""A picture of pairs."""

from __future__ import annotations

import math
import xml.etree.ElementTree as ElementTree

from hugectr2onnx.pages.scatter import ScatterBlock


def points(block: ScatterBlock) -> list[tuple[float, float]]:
    """The middle of each point, in units of the picture: to the right and downwards."""
    figure = ElementTree.fromstring(block.html())
    return [(float(each.attrib["cx"]), float(each.attrib["cy"])) for each in figure.iter("circle")]


def test_pairs_of_equal_numbers_lie_on_the_line() -> None:
    found = points(ScatterBlock("label", "recorded", "prediction", ((0.0, 0.0), (0.5, 0.5), (1.0, 1.0))))
    assert found == [(0.0, 240.0), (120.0, 120.0), (240.0, 0.0)]


def test_a_larger_prediction_lies_above_the_line() -> None:
    (_, _, (x, y)) = points(ScatterBlock("label", "recorded", "prediction", ((0.0, 0.0), (1.0, 1.0), (0.25, 0.75))))
    assert (x, y) == (60.0, 60.0)


def test_pairs_that_are_not_finite_are_counted() -> None:
    block = ScatterBlock("label", "recorded", "prediction", ((0.0, 1.0), (math.nan, 0.5), (0.5, math.inf)))
    assert len(points(block)) == 1
    assert "1 pairs of recorded and prediction between 0 and 1, 2 more that are not finite" in block.html()
    assert block.data()["pairs"][0] == [0.0, 1.0]


def test_equal_numbers_alone_have_a_range_too() -> None:
    assert points(ScatterBlock("label", "x", "y", ((2.0, 2.0),))) == [(120.0, 120.0)]


def test_names_are_escaped() -> None:
    assert "<b>" not in ScatterBlock("<b>", "<b>", "<b>", ()).html()
