"""The table of `compare` as a page."""

from __future__ import annotations

from html import escape

from hugectr2onnx.comparison.result import ModelComparison
from hugectr2onnx.pages.shell import begins_as, page, scrolled

COMPARISON_MARK = "written by hugectr2onnx compare"
_STYLE = "td { white-space: nowrap; min-width: 0; } td:last-child { white-space: normal; min-width: 14rem; }"


def is_page(start: bytes) -> bool:
    """Tell whether a file begins as the pages written here: nothing else is overwritten."""
    return begins_as(COMPARISON_MARK, start)


def comparison_page(result: ModelComparison) -> str:
    """`compare.html`."""
    title = f"{result.a} and {result.b}"
    body = f"<main>\n<h1>{escape(title)}</h1>\n{result.head_html()}\n<h2>Tensors, in the order of the layers</h2>\n"
    body += scrolled("tensors in the order of the layers", result.table_html()) + result.notes_html() + "\n</main>"
    return page(f"Compare {title}", body, mark=COMPARISON_MARK, style=_STYLE)
