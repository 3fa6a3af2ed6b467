"""The diagram in Graphviz's language: a drawing of its own (`-o x.dot`), and what Graphviz lays out for the SVG."""

from __future__ import annotations

from collections.abc import Iterator

from hugectr2onnx.drawing.diagram import BOX_KINDS, DRAWING_MARK, Box, Diagram
from hugectr2onnx.drawing.measure import box_size

POINTS_PER_INCH = 72.0


def dot_text(diagram: Diagram) -> str:
    """Return the diagram as DOT: a cluster for each group, colours by kind, types on the edges."""
    return "\n".join([f"// {DRAWING_MARK}", "digraph model {", *_statements(diagram), "}"]) + "\n"


def _statements(diagram: Diagram) -> Iterator[str]:
    yield f"  label={_quoted(diagram.title)}; labelloc=t; rankdir=TB; nodesep=0.25; ranksep=0.45; fontname=Helvetica;"
    yield '  node [shape=box, style="filled,rounded", fontname=Helvetica, fontsize=11, fixedsize=true];'
    yield "  edge [fontname=Helvetica, fontsize=9];"
    ids = {box.name: f"n{number}" for number, box in enumerate(diagram.boxes)}
    boxes = {box.name: box for box in diagram.boxes}
    grouped = {name for group in diagram.groups for name in group.boxes}
    for number, group in enumerate(diagram.groups):
        members = " ".join(_node(ids[name], boxes[name]) for name in group.boxes)
        yield f"  subgraph cluster_{number} {{ label={_quoted(group.title)}; {members} }}"
    yield from (f"  {_node(ids[box.name], box)}" for box in diagram.boxes if box.name not in grouped)
    for number, edge in enumerate(diagram.edges):
        label = f", label={_quoted(edge.label)}" if edge.label else ""
        yield f"  {ids[edge.source]} -> {ids[edge.target]} [id=e{number}{label}];"


def _node(id: str, box: Box) -> str:
    width, height = box_size(box)
    size = f"width={width / POINTS_PER_INCH:.3f}, height={height / POINTS_PER_INCH:.3f}"
    text = _quoted("\n".join([box.title, *box.lines]))
    return f'{id} [label={text}, fillcolor="{BOX_KINDS[box.kind][1]}", {size}];'


def _quoted(text: str) -> str:
    escaped = text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
    return f'"{escaped}"'
