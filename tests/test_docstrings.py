"""Docstrings of functions say what the function does: an imperative first line (PEP 257)."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
MODULES = sorted(path.relative_to(ROOT) for path in (ROOT / "hugectr2onnx").rglob("*.py"))
NOT_IMPERATIVE = {"A", "All", "An", "How", "That", "The", "These", "What", "When", "Where", "Whether", "Which", "Why"}
NOUNS_ARE_FINE = {"property", "cached_property", "rule"}
"""A property reads as a noun; a rule's docstring is the rewrite itself."""


def functions(module: Path) -> Iterator[ast.FunctionDef]:
    for node in ast.walk(ast.parse((ROOT / module).read_text())):
        if isinstance(node, ast.FunctionDef):
            decorators = {ast.unparse(each).split("(")[0].split(".")[-1] for each in node.decorator_list}
            if not decorators & NOUNS_ARE_FINE:
                yield node


@pytest.mark.parametrize("module", MODULES, ids=str)
def test_a_function_begins_with_what_it_does(module: Path) -> None:
    lines = {each.name: (ast.get_docstring(each) or "").split("\n")[0] for each in functions(module)}
    assert {name: line for name, line in lines.items() if line.split(" ")[0] in NOT_IMPERATIVE} == {}
