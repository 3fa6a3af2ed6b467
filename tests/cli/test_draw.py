"""`hugectr2onnx draw`."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

Run = Callable[..., Any]


@pytest.mark.parametrize(
    ("name", "start"),
    [("m.svg", "<svg "), ("m.html", "<!doctype html>"), ("m.dot", "// drawn"), ("m.mmd", "---\ntitle")],
)
def test_the_ending_of_the_file_chooses_the_format(name: str, start: str, model: Any, run: Run, tmp_path: Path) -> None:
    assert run("draw", *model.arguments, "-o", tmp_path / name).code == 0
    assert (tmp_path / name).read_text().startswith(start)


def test_a_drawing_replaces_a_drawing(model: Any, run: Run, tmp_path: Path) -> None:
    for _ in range(2):
        assert run("draw", model.graph, "-o", tmp_path / "m.svg").code == 0


def test_a_file_of_somebody_else_is_not_replaced(model: Any, run: Run, tmp_path: Path) -> None:
    (tmp_path / "m.svg").write_text("<svg>mine</svg>")
    result = run("draw", model.graph, "-o", tmp_path / "m.svg")
    assert result.code == 3
    assert "not a file of ours" in result.err
    assert (tmp_path / "m.svg").read_text() == "<svg>mine</svg>"
    assert run("draw", model.graph, "-o", tmp_path / "m.svg", "--force").code == 0


def test_another_ending_is_wrong_usage(model: Any, run: Run, tmp_path: Path) -> None:
    result = run("draw", model.graph, "-o", tmp_path / "m.png")
    assert result.code == 2
    assert "a drawing ends in .svg, .html, .dot, .mmd" in result.err


def test_before_and_after_need_the_weights(model: Any, run: Run, tmp_path: Path) -> None:
    result = run("draw", model.graph, "--before-after", "-o", tmp_path / "m.svg")
    assert result.code == 2
    assert "what the passes do depends on the weights" in result.err


def test_a_text_format_holds_one_diagram(model: Any, run: Run, tmp_path: Path) -> None:
    result = run("draw", *model.arguments, "--before-after", "-o", tmp_path / "m.dot")
    assert result.code == 2
    assert "a .dot or .mmd file holds one diagram" in result.err


def test_a_graph_that_cannot_be_imported_says_why(model: Any, run: Run, tmp_path: Path) -> None:
    model.change(lambda layers: layers[-1].update(type="Unheard"))
    result = run("draw", model.graph, "-o", tmp_path / "m.svg")
    assert "Unheard" in result.err
    assert not (tmp_path / "m.svg").exists()
