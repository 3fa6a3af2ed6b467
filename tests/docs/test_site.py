"""The documentation site: every page is in its menu, every public name in its reference, its first page is the README."""

from __future__ import annotations

import importlib.util
import re
from pathlib import Path
from types import ModuleType

import hugectr2onnx
from hugectr2onnx import errors

from .pages import DOCS, PAGES, ROOT, text

CONFIG = (ROOT / "mkdocs.yml").read_text(encoding="utf-8")


def hooks() -> ModuleType:
    spec = importlib.util.spec_from_file_location("site_hooks", DOCS / "site_hooks.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_every_page_is_in_the_menu() -> None:
    menu = CONFIG.partition("\nnav:\n")[2]
    listed = re.findall(r": (\S+\.md)$", menu, re.MULTILINE)
    assert sorted(listed) == sorted(["index.md", *(path.relative_to(DOCS).as_posix() for path in DOCS.rglob("*.md"))])


def test_the_first_page_is_the_readme_with_links_that_fit() -> None:
    page = hooks().index("https://host/project")
    assert page.startswith("# hugectr2onnx\n")
    targets = [target.partition("#")[0] for target in re.findall(r"\]\(([^)]+)\)", page)]
    assert "https://host/project/blob/main/CONTRIBUTING.md" in targets
    inside = [target for target in targets if target and not target.startswith("http")]
    assert "tutorial.md" in inside
    assert [target for target in inside if not (DOCS / target).is_file()] == []


def test_the_reference_has_every_public_name() -> None:
    documented = set(re.findall(r"^::: \S+\.(\w+)$", text(DOCS / "reference.md"), re.MULTILINE))
    kinds = {name for name in hugectr2onnx.__all__ if hasattr(errors, name)}
    assert set(hugectr2onnx.__all__) - documented - kinds == {"__version__", "converter"}
    assert "errors" in documented


def test_names_of_the_reference_are_where_it_says() -> None:
    for path in re.findall(r"^::: (\S+)$", text(DOCS / "reference.md"), re.MULTILINE):
        module, _, name = path.rpartition(".")
        assert hasattr(importlib.import_module(module), name), path


def test_every_picture_is_shown_somewhere() -> None:
    shown = {Path(target).name for page in PAGES for target in re.findall(r"!\[[^\]]+\]\(([^)]+)\)", text(page))}
    assert shown == {path.name for path in (DOCS / "images").iterdir() if path.suffix == ".svg"}
