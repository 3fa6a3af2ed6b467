"""Each "(layers 3.9)", "(formats 2.5)" and "(design 5)" of the code names a section that the documentation has."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from .pages import DOCS, PAGES, ROOT, headings, name

DOCUMENTS = {
    "layers": DOCS / "specification" / "layers.md",
    "formats": DOCS / "specification" / "formats.md",
    "design": DOCS / "design.md",
}
SOURCES = [
    *(path for folder in ("hugectr2onnx", "tests", "benchmarks") for path in sorted((ROOT / folder).rglob("*.py"))),
    *PAGES,
]
_NUMBER = r"\d+(?:\.\d+)*"
_REFERENCE = re.compile(rf"\b(layers|formats|design)[ \n]+({_NUMBER}(?:(?:,| and| to)\s+{_NUMBER})*)(?![-\d%])")


def sections(document: str) -> set[str]:
    found = (re.match(rf"({_NUMBER})\.? ", heading) for heading in headings(DOCUMENTS[document]))
    return {match[1] for match in found if match}


def references(source: str) -> list[tuple[str, str]]:
    """(document, section) for each number in "layers 3.8, 3.9", "formats 2.1 and 5" within parentheses."""
    found = []
    for clause in re.findall(r"\(([^()]*)\)", source, re.DOTALL):
        for document, numbers in _REFERENCE.findall(clause):
            found += [(document, number) for number in re.findall(_NUMBER, numbers)]
    return found


def test_references_are_recognized():
    assert references("x (layers 3.8, 3.9) y (formats 2.1 and 5, layers 2.2; design 5)") == [
        ("layers", "3.8"),
        ("layers", "3.9"),
        ("formats", "2.1"),
        ("formats", "5"),
        ("layers", "2.2"),
        ("design", "5"),
    ]


@pytest.mark.parametrize("document", DOCUMENTS)
def test_sections_are_numbered_once(document):
    numbers = [heading.split(" ")[0].rstrip(".") for heading in headings(DOCUMENTS[document]) if heading[0].isdigit()]
    assert len(numbers) == len(set(numbers)) > 8


def test_every_reference_leads_to_a_section():
    known = {document: sections(document) for document in DOCUMENTS}
    dangling = [
        f"{name(path)}: ({document} {section})"
        for path in SOURCES
        if path != Path(__file__)
        for document, section in references(path.read_text(encoding="utf-8"))
        if section not in known[document]
    ]
    assert dangling == []


def test_the_code_refers_to_the_specification():
    counted = [document for path in SOURCES for document, _ in references(path.read_text(encoding="utf-8"))]
    assert counted.count("layers") > 60 and counted.count("formats") > 40 and counted.count("design") > 1
