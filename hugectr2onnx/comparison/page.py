"""One HTML file: no network, no script, light and dark, printable, readable on a telephone and by a screen reader."""

from __future__ import annotations

from html import escape

from hugectr2onnx.comparison.result import ModelComparison

STYLE = """
:root { color-scheme: light dark; --line: #8886; --bad: #b3261e; --good: #1b6e3c; --soft: #8882; }
@media (prefers-color-scheme: dark) { :root { --bad: #ff9a91; --good: #7fd6a0; } }
* { box-sizing: border-box; }
body { font: 16px/1.5 system-ui, sans-serif; margin: 0 auto; padding: 1rem; max-width: 90rem; overflow-wrap: anywhere; }
h1 { font-size: 1.5rem; } h2 { font-size: 1.2rem; margin-top: 2rem; }
.scroll { overflow-x: auto; border: 1px solid var(--line); border-radius: 6px; }
table { border-collapse: collapse; width: 100%; font-size: .875rem; overflow-wrap: normal; }
th, td { padding: .3rem .6rem; text-align: left; border-bottom: 1px solid var(--line); white-space: nowrap; }
th { background: var(--soft); } tr:last-child td { border-bottom: 0; }
tr.differs td { color: var(--bad); font-weight: 600; }
tr.not-compared td { opacity: .8; }
.bad { color: var(--bad); } .good { color: var(--good); }
pre { overflow-x: auto; padding: .75rem; background: var(--soft); border-radius: 6px; font-size: .8125rem; }
@media print { body { max-width: none; } .scroll, pre { overflow: visible; border: 0; } td, th { white-space: normal; } }
"""
HEAD = "<!doctype html>\n<!-- written by hugectr2onnx compare -->"


def is_page(start: bytes) -> bool:
    """Whether a file begins as the pages written here: nothing else is overwritten."""
    return start.startswith(HEAD.encode())


def page(title: str, body: str) -> str:
    """A whole document."""
    return (
        f'{HEAD}\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n<link rel="icon" href="data:,">\n'
        f"<title>{escape(title)}</title>\n<style>{STYLE}</style>\n</head>\n<body>\n<main>\n{body}\n</main>\n</body>\n</html>\n"
    )


def scrolled(label: str, table: str) -> str:
    """A table that scrolls by itself where it is wider than the page, by keyboard too."""
    return f'<div class="scroll" role="region" tabindex="0" aria-label="{escape(label)}">{table}</div>'


def comparison_page(result: ModelComparison) -> str:
    """`compare.html`."""
    title = f"{result.a} and {result.b}"
    body = f"<h1>{escape(title)}</h1>\n{result.head_html()}\n<h2>Tensors, in the order of the layers</h2>\n"
    body += scrolled("tensors in the order of the layers", result.table_html()) + result.notes_html()
    return page(f"Compare {title}", body)
