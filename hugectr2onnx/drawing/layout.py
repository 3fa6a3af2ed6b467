"""Lay out boxes, groups and edges: by Graphviz if `dot` is on the path, else by networkx, which the package brings."""

from __future__ import annotations

import json
import shutil
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from hugectr2onnx.drawing.diagram import Diagram
from hugectr2onnx.drawing.dot import POINTS_PER_INCH, dot_text
from hugectr2onnx.drawing.measure import LINE_POINTS, MARGIN, box_size, text_width
from hugectr2onnx.errors import OutputError

Point = tuple[float, float]
TIMEOUT_SECONDS = 120
HEADING = 18.0
"""Points above the boxes of a group, for its title."""
GAP = 36.0


@dataclass(frozen=True)
class Rectangle:
    """From its left upper corner, in points; y grows downwards."""

    x: float
    y: float
    width: float
    height: float

    @property
    def right(self) -> float:
        return self.x + self.width

    @property
    def bottom(self) -> float:
        return self.y + self.height


@dataclass(frozen=True)
class Curve:
    """An edge: a start, then triples of points as a cubic Bezier curve has them; and where its label stands."""

    points: tuple[Point, ...]
    label_at: Point


@dataclass(frozen=True)
class PageLayout:
    """Places, in the order of the diagram's boxes, groups and edges."""

    width: float
    height: float
    boxes: tuple[Rectangle, ...]
    groups: tuple[Rectangle, ...]
    edges: tuple[Curve, ...]
    engine: str


def lay_out(diagram: Diagram) -> PageLayout:
    """Place a diagram. Raises OutputError where Graphviz is there and fails."""
    program = shutil.which("dot")
    return _by_graphviz(diagram, program) if program else _by_networkx(diagram)


# Graphviz


def _by_graphviz(diagram: Diagram, program: str) -> PageLayout:
    try:
        done = subprocess.run(
            [program, "-Tjson"],
            input=dot_text(diagram).encode(),
            capture_output=True,
            check=True,
            timeout=TIMEOUT_SECONDS,
        )
        placed = json.loads(done.stdout)
    except (OSError, subprocess.SubprocessError, ValueError) as error:
        raise OutputError(f"Graphviz ({program}) could not lay the drawing out: {error}") from error
    _, _, width, height = _numbers(placed["bb"])
    objects = {each["name"]: each for each in placed.get("objects", ())}
    boxes = tuple(_node_place(objects[f"n{number}"], height) for number in range(len(diagram.boxes)))
    groups = tuple(_cluster_place(objects[f"cluster_{number}"], height) for number in range(len(diagram.groups)))
    # Graphviz gives the edges in an order of its own.
    drawn = {each["id"]: each for each in placed.get("edges", ())}
    edges = tuple(_edge_place(drawn[f"e{number}"], height) for number in range(len(diagram.edges)))
    return PageLayout(width, height, boxes, groups, edges, "Graphviz")


def _numbers(text: str) -> list[float]:
    return [float(each) for each in text.split(",")]


def _node_place(node: Mapping[str, Any], total: float) -> Rectangle:
    x, y = _numbers(node["pos"])
    width, height = float(node["width"]) * POINTS_PER_INCH, float(node["height"]) * POINTS_PER_INCH
    return Rectangle(x - width / 2, total - y - height / 2, width, height)


def _cluster_place(cluster: Mapping[str, Any], total: float) -> Rectangle:
    left, low, right, high = _numbers(cluster["bb"])
    return Rectangle(left, total - high, right - left, high - low)


def _edge_place(edge: Mapping[str, Any], total: float) -> Curve:
    """`pos` is `e,x,y x,y x,y ...`: the arrow's tip, then the curve."""
    tip: list[Point] = []
    points: list[Point] = []
    for part in edge["pos"].split(" "):
        is_tip = part.startswith("e,")
        x, y = _numbers(part.removeprefix("e,"))
        (tip if is_tip else points).append((x, total - y))
    last = tip[0] if tip else points[-1]
    points += [points[-1], last, last]
    x, y = _numbers(edge["lp"]) if "lp" in edge else (points[0][0], total - points[0][1])
    return Curve(tuple(points), (x, total - y))


# Networkx


def _by_networkx(diagram: Diagram) -> PageLayout:
    """Return groups in rows by their distance from the inputs; the boxes of a group one below the other."""
    import networkx as nx

    units = _units(diagram)
    unit_of = {name: number for number, unit in enumerate(units) for name in unit}
    pairs = {(unit_of[edge.source], unit_of[edge.target]) for edge in diagram.edges}
    graph = nx.DiGraph(pair for pair in pairs if pair[0] != pair[1])
    graph.add_nodes_from(range(len(units)))
    # Groups of fused layers may read one another: what does stands in one row.
    rows = nx.condensation(graph)
    order = [
        [unit for each in generation for unit in sorted(rows.nodes[each]["members"])]
        for generation in nx.topological_generations(rows)
    ]
    return _stack(diagram, units, order)


def _units(diagram: Diagram) -> list[tuple[str, ...]]:
    grouped = {name for group in diagram.groups for name in group.boxes}
    alone = [(box.name,) for box in diagram.boxes if box.name not in grouped]
    return [*(group.boxes for group in diagram.groups), *alone]


def _stack(diagram: Diagram, units: list[tuple[str, ...]], order: list[list[int]]) -> PageLayout:
    sizes = {box.name: box_size(box) for box in diagram.boxes}
    places: dict[str, Rectangle] = {}
    frames: dict[int, Rectangle] = {}
    titles = [group.title for group in diagram.groups]
    y = widest = 0.0
    for row in order:
        x, lowest = MARGIN, y
        for unit in row:
            title = text_width(titles[unit], LINE_POINTS) if unit < len(titles) else 0.0
            width = max([title, *(sizes[name][0] for name in units[unit])])
            below = y + HEADING
            for name in units[unit]:
                places[name] = Rectangle(x + MARGIN, below, *sizes[name])
                below += sizes[name][1] + GAP / 2
            frames[unit] = Rectangle(x, y, width + 2 * MARGIN, below - y)
            x, lowest = x + width + 2 * MARGIN + GAP, max(lowest, below)
        y, widest = lowest + GAP, max(widest, x)
    curves = tuple(_line(places[edge.source], places[edge.target]) for edge in diagram.edges)
    groups = tuple(frames[number] for number in range(len(diagram.groups)))
    return PageLayout(widest, y, tuple(places[box.name] for box in diagram.boxes), groups, curves, "networkx")


def _line(source: Rectangle, target: Rectangle) -> Curve:
    start = source.x + source.width / 2, source.bottom
    end = target.x + target.width / 2, target.y
    middle = (start[1] + end[1]) / 2
    points = start, (start[0], middle), (end[0], middle), end
    return Curve(points, ((start[0] + end[0]) / 2, middle))
