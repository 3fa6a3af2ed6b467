"""Every page of every sample model, opened once in a headless Chromium.

Needs Debian's `chromium`, the extra `browser` (playwright's Python package drives it; playwright's own browsers are not used)
and axe-core's `axe.min.js`, whose path stands in HUGECTR2ONNX_AXE. What cannot be had is the reason of the skip.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

import hugectr2onnx
from hugectr2onnx.comparison.page import comparison_page
from hugectr2onnx.sample_models import write_sample

AXE = "HUGECTR2ONNX_AXE"
PHONE = {"width": 380, "height": 800}
DESK = {"width": 1400, "height": 900}
SCHEMES = ("light", "dark")


@dataclass(frozen=True)
class Opened:
    """A page as the browser found it; `data` is the same as JSON-ready data, None for a drawing."""

    data: Any
    messages: list[str]
    requests: list[str]
    broken_anchors: list[str]
    values: list[str]
    cells: list[list[str]]
    violations: list[str]
    too_wide: bool


@pytest.fixture(scope="session")
def axe() -> str:
    place = os.environ.get(AXE, "")
    if not os.path.isfile(place):
        pytest.skip(f"axe-core is not there: set {AXE} to its axe.min.js (npm pack axe-core)")
    return Path(place).read_text(encoding="utf-8")


@pytest.fixture(scope="session")
def browser(axe: str) -> Iterator[Any]:
    program = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
    if program is None:
        pytest.skip("there is no Chromium: apt-get install chromium")
    api = pytest.importorskip("playwright.sync_api", reason="playwright is not installed: hugectr2onnx[browser]")
    with api.sync_playwright() as driver:
        opened = driver.chromium.launch(executable_path=program, args=["--no-sandbox", "--disable-gpu"])
        yield opened
        opened.close()


@dataclass(frozen=True)
class Pages:
    """The three pages of a sample model, and their data."""

    paths: dict[str, Path]
    data: dict[str, Any]


@pytest.fixture(scope="session")
def pages(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Pages]:
    made: dict[str, Pages] = {}

    def write(name: str) -> Pages:
        if name not in made:
            made[name] = _write(name, tmp_path_factory.mktemp(name))
        return made[name]

    return write


def _write(name: str, folder: Path) -> Pages:
    sample = write_sample(name, folder / name, rows=60)
    paths = {kind: folder / f"{kind}.html" for kind in ("report", "comparison", "drawing")}
    file = folder / f"{name}.onnx"
    hugectr2onnx.compile(sample.graph, sample.weights, simplify=False).save(file)
    report = hugectr2onnx.write_report(
        file, paths["report"], against=sample.graph, weights=sample.weights, batch=(4,), seconds=0.02
    )
    compared = hugectr2onnx.compare(sample.graph, file, weights=sample.weights)
    paths["comparison"].write_text(comparison_page(compared), encoding="utf-8")
    hugectr2onnx.draw(sample.graph, sample.weights, out=paths["drawing"], before_after=True)
    return Pages(paths, {"report": report.to_dict(), "comparison": compared.to_dict(), "drawing": None})


@pytest.fixture(scope="session")
def look(browser: Any, axe: str, pages: Callable[[str], Pages]) -> Callable[[str, str], Opened]:
    seen: dict[tuple[str, str], Opened] = {}

    def opened(name: str, kind: str) -> Opened:
        if (name, kind) not in seen:
            found = pages(name)
            seen[name, kind] = _open(browser, axe, found.paths[kind], found.data[kind])
        return seen[name, kind]

    return opened


_ANCHORS = """() => [...document.querySelectorAll("a")].map(a => a.getAttribute("href"))
  .filter(href => !href.startsWith("#") || document.getElementById(href.slice(1)) === null)"""
_VALUES = """() => [...document.querySelectorAll("[data-value]")].map(cell => cell.dataset.value)"""
_CELLS = (
    """() => [...document.querySelectorAll("tbody tr")].map(row => [...row.children].map(cell => cell.textContent))"""
)
_WIDE = "() => document.documentElement.scrollWidth > document.documentElement.clientWidth"


def _open(browser: Any, axe: str, path: Path, data: Any) -> Opened:
    messages: list[str] = []
    requests: list[str] = []
    violations: list[str] = []
    found: dict[str, Any] = {}
    for scheme in SCHEMES:
        context = browser.new_context(viewport=DESK, color_scheme=scheme)
        page = context.new_page()
        page.on("console", lambda message: messages.append(message.text))
        page.on("pageerror", lambda error: messages.append(str(error)))
        page.on("request", lambda request: requests.append(request.url))
        page.goto(path.as_uri())
        found = {"anchors": page.evaluate(_ANCHORS), "values": page.evaluate(_VALUES), "cells": page.evaluate(_CELLS)}
        page.evaluate(axe)
        # The colours alone depend on the scheme.
        rules = {} if scheme == SCHEMES[0] else {"runOnly": ["color-contrast"]}
        result = page.evaluate("async options => await axe.run(options)", rules)
        violations += [f"{scheme}: {each['id']}: {each['nodes'][0]['html'][:200]}" for each in result["violations"]]
        page.set_viewport_size(PHONE)
        found["wide"] = page.evaluate(_WIDE)
        context.close()
    others = [url for url in requests if url != path.as_uri() and not url.startswith("data:")]
    return Opened(data, messages, others, found["anchors"], found["values"], found["cells"], violations, found["wide"])
