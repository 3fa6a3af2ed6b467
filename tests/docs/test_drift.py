"""Names that the documentation mentions exist: verbs, flags, options of `compile`, names of the package, files."""

from __future__ import annotations

import argparse
import inspect
import re
from pathlib import Path

import pytest

import hugectr2onnx
from benchmarks.arguments import parser as benchmark_parser
from hugectr2onnx import converter
from hugectr2onnx.cli import VERBS
from hugectr2onnx.cli.parser import make_parser

from .pages import DOCS, PAGES, ROOT, blocks, headings, name, prose, text

ENTRY_POINTS = "layers"
"""The group of entry points is called hugectr2onnx.layers."""
WIDEST = 128
"""The longest line that ruff accepts in code."""
GUIDE_VERB = {"labels"}
"""The verb that docs/adding_a_verb.md adds."""
OTHER_TOOLS = {"--strict", "--at-least", "--repository", "--models", "--model-repository",
               "--model-control-mode", "--load-model", "--backend-config"}  # fmt: skip
"""Flags of mkdocs, twine and tritonserver, of the random-model run, and of what a guide adds."""


def parsers(parser: argparse.ArgumentParser) -> list[argparse.ArgumentParser]:
    found = [parser]
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            for each in action.choices.values():
                found += parsers(each)
    return found


def known_flags() -> set[str]:
    command_line = [each for verb in VERBS for each in parsers(make_parser(VERBS, [verb]))]
    every = [*command_line, *parsers(benchmark_parser())]
    flags = {flag for parser in every for action in parser._actions for flag in action.option_strings}
    programs = [Path(str(converter.__file__)), *(ROOT / "fuzz").rglob("*.py")]
    return flags.union(*(re.findall(r'"(--[a-z][a-z-]*)"', text(each)) for each in programs))


def test_every_flag_exists() -> None:
    known = known_flags() | OTHER_TOOLS
    of_our_own = [page for page in PAGES if page.parent.name != "specification"]
    for page in of_our_own:
        mentioned = set(re.findall(r"(?<![\w-])--[a-z][a-z0-9-]+", text(page)))
        assert mentioned - known == set(), name(page)


def test_every_verb_exists() -> None:
    for page in PAGES:
        mentioned = set(re.findall(r"(?<![\w/.])hugectr2onnx ([a-z]+)\b", "\n".join(commands(page))))
        assert mentioned - set(VERBS) - GUIDE_VERB == set(), name(page)


def commands(page: Path) -> list[str]:
    """Shell blocks, and inline code that begins with the program."""
    inline = re.findall(r"`(hugectr2onnx [^`]+)`", prose(page))
    return [code for language, _, code in blocks(page) if language == "sh"] + inline


def test_every_public_name_exists() -> None:
    for page in PAGES:
        for mentioned in set(re.findall(r"\bhugectr2onnx\.([A-Za-z_]+)\b", text(page))):
            has = mentioned in hugectr2onnx.__all__ or (ROOT / "hugectr2onnx" / mentioned).is_dir()
            is_module = (ROOT / "hugectr2onnx" / f"{mentioned}.py").exists()
            assert has or is_module or mentioned == ENTRY_POINTS, f"{name(page)}: hugectr2onnx.{mentioned}"


def test_every_option_of_compile_in_a_code_block_exists() -> None:
    options = set(inspect.signature(hugectr2onnx.compile).parameters)
    for page in PAGES:
        for language, _, code in blocks(page):
            for call in (
                re.findall(r"hugectr2onnx\.compile\((.*?)\)\n", code, re.DOTALL) if language == "python" else ()
            ):
                assert set(re.findall(r"\b(\w+)=", call)) <= options, f"{name(page)}: {call}"


@pytest.mark.parametrize("page", PAGES, ids=name)
def test_links_and_anchors_lead_somewhere(page: Path) -> None:
    for target in re.findall(r"\]\(([^)\s]+)\)", prose(page)):
        if target.startswith(("http://", "https://", "mailto:")):
            continue
        path, _, anchor = target.partition("#")
        file = (page.parent / path).resolve() if path else page
        assert file.exists(), f"{name(page)} links to {target}"
        if anchor:
            assert anchor in {slug(heading) for heading in headings(file)}, f"{name(page)} links to {target}"


def slug(heading: str) -> str:
    """The anchor that GitHub and mkdocs give a heading."""
    return re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-")


@pytest.mark.parametrize("page", PAGES, ids=name)
def test_lines_of_text_are_short(page: Path) -> None:
    lines = [line for line in prose(page).splitlines() if not line.startswith("|")]
    assert [line for line in lines if len(line) > WIDEST] == []


def test_the_design_names_every_package() -> None:
    named = set(re.findall(r"^\| `(\w+)` \|", text(DOCS / "design.md"), re.MULTILINE))
    packages = {path.name for path in (ROOT / "hugectr2onnx").iterdir() if (path / "__init__.py").exists()}
    assert named == packages
