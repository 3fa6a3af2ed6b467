"""What the four formats hold, and that names cannot break out of them."""

from __future__ import annotations

import re
import shutil
import subprocess
from html.parser import HTMLParser
from xml.etree import ElementTree

import pytest

from hugectr2onnx.drawing.diagram import Box, Diagram, Edge, Group
from hugectr2onnx.drawing.dot import dot_text
from hugectr2onnx.drawing.html import html_text
from hugectr2onnx.drawing.mermaid import mermaid_text
from hugectr2onnx.drawing.svg import svg_text

EVIL = '</script><b>"&\\\n]]> --> #'
DIAGRAM = Diagram(
    f"model {EVIL}",
    (
        Box("a", f"in {EVIL}", "interface"),
        Box("t", "table", "table", ("rows",), ("e",), 1500),
        Box("b", "relu", "element"),
    ),
    (Edge("a", "b", f"f32[N, 1] {EVIL}"), Edge("t", "b")),
    (Group(f"Layer {EVIL}", ("t",)),),
)
SVG = "{http://www.w3.org/2000/svg}"


def test_svg_is_well_formed_and_shows_every_text(engine: str) -> None:
    root = ElementTree.fromstring(svg_text([DIAGRAM]))
    texts = [each.text for each in root.iter(f"{SVG}text")]
    assert {DIAGRAM.title, DIAGRAM.boxes[0].title, "table", "relu", DIAGRAM.edges[0].label} <= set(texts)
    assert DIAGRAM.groups[0].title in texts
    assert "constants: 1.5 kB" in "".join(each.text or "" for each in root.iter(f"{SVG}title"))


def test_svg_needs_neither_script_nor_network(without_graphviz: None) -> None:
    text = svg_text([DIAGRAM])
    assert "<script" not in text
    assert set(re.findall(r"https?://[^\"' ]+", text)) == {"http://www.w3.org/2000/svg"}


def test_notes_stand_beside_the_drawings(without_graphviz: None) -> None:
    root = ElementTree.fromstring(svg_text([DIAGRAM, DIAGRAM], ["fuse_bias: x3"]))
    note = next(each for each in root.iter(f"{SVG}text") if each.text == "fuse_bias: x3")
    assert float(note.attrib["x"]) < float(root.attrib["width"])


class Tags(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.names: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.names.append(tag)


def test_names_cannot_add_tags_to_the_page(without_graphviz: None) -> None:
    tags = Tags()
    tags.feed(html_text([DIAGRAM]))
    assert tags.names.count("script") == 1
    assert "b" not in tags.names


def test_dot_is_read_by_graphviz() -> None:
    if shutil.which("dot") is None:
        pytest.skip("Graphviz is not installed")
    done = subprocess.run(["dot", "-Tplain"], input=dot_text(DIAGRAM).encode(), capture_output=True, check=True)
    assert done.stdout.count(b"\nnode ") == 3
    assert done.stdout.count(b"\nedge ") == 2


def test_dot_has_a_cluster_for_each_group() -> None:
    text = dot_text(DIAGRAM)
    assert text.count("subgraph cluster_") == 1
    assert 'label="rows"' not in text  # lines of a box are one label with its title
    assert '"table\\nrows"' in text


def test_mermaid_has_boxes_edges_and_subgraphs() -> None:
    lines = mermaid_text(DIAGRAM).splitlines()
    assert '  n1[("table<br>rows")]:::table' in lines
    assert "  n1 --> n2" in lines
    assert sum(line.startswith("  subgraph ") for line in lines) == 1
    assert not [line for line in lines if "</script>" in line and "title" not in line]
