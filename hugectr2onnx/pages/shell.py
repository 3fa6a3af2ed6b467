"""The shell of every page: one HTML file, no network, light and dark, printable, for a telephone and a screen reader alike."""

from __future__ import annotations

from html import escape

_STYLE = """
:root { color-scheme: light dark; --page: #fff; --text: #1b1b1f; --line: #767680; --soft: #f1f1f5; --muted: #4a4a55;
  --bad: #a1150d; --good: #14592f; --link: #0b4fb3; --bar: #3d6fb5; }
@media (prefers-color-scheme: dark) { :root { --page: #15161a; --text: #e6e6ea; --line: #6f7078; --soft: #24262c;
  --muted: #b9bac4; --bad: #ff9a91; --good: #7fd6a0; --link: #9cc2ff; --bar: #7ba7e6; } }
* { box-sizing: border-box; }
body { font: 16px/1.5 system-ui, sans-serif; margin: 0 auto; padding: 1rem; max-width: 80rem; overflow-wrap: anywhere;
  background: var(--page); color: var(--text); }
h1 { font-size: 1.5rem; line-height: 1.25; margin: 0 0 .5rem; }
h2 { font-size: 1.25rem; margin: 2.25rem 0 .5rem; border-bottom: 1px solid var(--line); }
h3 { font-size: 1rem; margin: 1.5rem 0 .25rem; }
a { color: var(--link); } p { max-width: 60rem; }
nav ul { display: flex; flex-wrap: wrap; gap: .25rem 1rem; padding: 0; margin: .5rem 0; list-style: none; }
.scroll { overflow-x: auto; border: 1px solid var(--line); border-radius: 6px; margin: .5rem 0 1rem; }
.narrow { max-width: 44rem; }
:focus-visible { outline: 3px solid var(--link); outline-offset: 1px; }
table { border-collapse: collapse; width: 100%; font-size: .875rem; overflow-wrap: normal; }
caption { text-align: left; padding: .4rem .6rem; color: var(--muted); }
th, td { padding: .3rem .6rem; text-align: left; vertical-align: top; border-top: 1px solid var(--line); }
td, tbody th { min-width: 6.5rem; } td.number, tbody th.number { min-width: 0; }
thead th { background: var(--soft); white-space: nowrap; } tbody th { font-weight: 600; }
th.number, td.number { text-align: right; white-space: nowrap; font-variant-numeric: tabular-nums; }
td.bar { min-width: 8rem; width: 30%; } td.bar svg { display: block; width: 100%; height: .6rem; fill: var(--bar); }
figure { margin: .5rem 0 1rem; } figcaption { color: var(--muted); font-size: .875rem; }
svg.scatter { width: 100%; max-width: 22rem; height: auto; font-size: 10px; fill: var(--text); }
svg.scatter circle { fill: var(--bar); } svg.scatter rect, svg.scatter line { fill: none; stroke: var(--line); }
tr.differs td { color: var(--bad); font-weight: 600; } tr.not-compared td { color: var(--muted); }
.bad { color: var(--bad); } .good { color: var(--good); } .muted, footer { color: var(--muted); }
.verdict { font-size: 1.1rem; font-weight: 600; }
pre { overflow-x: auto; padding: .75rem; margin: .5rem 0; background: var(--soft); border-radius: 6px; font-size: .8125rem; }
summary { cursor: pointer; padding: .2rem 0; }
@media print { body { max-width: none; padding: 0; font-size: 11px; } nav { display: none; } .scroll, pre { overflow: visible; }
  pre { white-space: pre-wrap; } td, th, thead th, th.number, td.number { white-space: normal; overflow-wrap: anywhere; }
  tr, figure { break-inside: avoid; } h2, h3 { break-after: avoid; }
  details::details-content { content-visibility: visible; display: block; height: auto; } }
"""
POLICY = "default-src 'none'; style-src 'unsafe-inline'; img-src data:"
"""What a browser may load for a page: nothing but what stands in it."""


def page(title: str, body: str, *, mark: str, style: str = "", script: str = "") -> str:
    """Return a whole document. `mark` tells what wrote it; `body` brings its own landmarks; `script` is run at its end."""
    policy = f"{POLICY}; script-src 'unsafe-inline'" if script else POLICY
    return (
        f'{_head(mark)}\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        f'<meta http-equiv="Content-Security-Policy" content="{policy}">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n<link rel="icon" href="data:,">\n'
        f"<title>{escape(title)}</title>\n<style>{_STYLE}{style}</style>\n</head>\n<body>\n{body}\n"
        + (f"<script>{script}</script>\n" if script else "")
        + "</body>\n</html>\n"
    )


def _head(mark: str) -> str:
    return f"<!doctype html>\n<!-- {mark} -->"


def begins_as(mark: str, start: bytes) -> bool:
    """Tell whether a file begins as the pages of this mark: nothing else is overwritten."""
    return start.startswith(_head(mark).encode())


def scrolled(label: str, table: str, *, narrow: bool = False) -> str:
    """Return a table that scrolls by itself where it is wider than the page, by keyboard too; `narrow`: one of few columns."""
    kind = "scroll narrow" if narrow else "scroll"
    return f'<div class="{kind}" role="region" tabindex="0" aria-label="{escape(label)}">{table}</div>'
