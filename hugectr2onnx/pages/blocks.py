"""The blocks of a document: sections of paragraphs, tables and texts. One source for HTML, Markdown and data.

Cells hold the numbers themselves; `Column.show` says how a reader gets them. HTML has the number too, as `data-value`.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from html import escape
from typing import Any, Literal

from hugectr2onnx.pages.numbers import number, size
from hugectr2onnx.pages.scatter import ScatterBlock
from hugectr2onnx.pages.shell import scrolled

MAX_NARROW = 3
"""Columns of a table that need not be as wide as the page: a number then stands near its name."""
Cell = str | int | float | None
Tone = Literal["", "good", "bad", "muted", "verdict good", "verdict bad"]


@dataclass(frozen=True)
class Column:
    """The head of a column, and what its cells are."""

    name: str
    kind: Literal["text", "count", "number", "bytes", "share"] = "text"

    @property
    def is_number(self) -> bool:
        return self.kind != "text"

    def show(self, cell: Cell) -> str:
        """Return a cell for a reader."""
        if cell is None or isinstance(cell, str):
            return cell if cell is not None else "-"
        return _SHOWN[self.kind](cell)


_SHOWN: dict[str, Callable[[Any], str]] = {
    "text": str,
    "count": lambda cell: f"{cell:,}",
    "number": number,
    "bytes": size,
    "share": lambda cell: f"{cell:.1%}",
}


@dataclass(frozen=True)
class Paragraph:
    """A sentence or two."""

    text: str
    tone: Tone = ""

    def data(self) -> dict[str, Any]:
        return {"kind": "paragraph", "text": self.text}

    def markdown(self) -> str:
        return f"**{self.text}**\n" if "verdict" in self.tone else f"{self.text}\n"

    def html(self) -> str:
        tone = f' class="{self.tone}"' if self.tone else ""
        return f"<p{tone}>{escape(self.text)}</p>"


@dataclass(frozen=True)
class TableBlock:
    """Rows under heads; the first column names the row. `bar`: the column whose numbers are drawn as bars too."""

    caption: str
    columns: tuple[Column, ...]
    rows: tuple[tuple[Cell, ...], ...]
    bar: str | None = None

    def data(self) -> dict[str, Any]:
        names = [column.name for column in self.columns]
        return {"kind": "table", "caption": self.caption, "columns": names, "rows": [list(row) for row in self.rows]}

    def markdown(self) -> str:
        head = [column.name for column in self.columns]
        rules = ["---:" if column.is_number else "---" for column in self.columns]
        rows = [
            [c.show(cell).replace("|", "\\|").replace("\n", " ") for c, cell in self._cells(row)] for row in self.rows
        ]
        return f"{self.caption}:\n\n" + "".join(f"| {' | '.join(row)} |\n" for row in (head, rules, *rows))

    def html(self) -> str:
        heads = "".join(f'<th scope="col"{_number(column)}>{escape(column.name)}</th>' for column in self.columns)
        heads += f'<th scope="col">{escape(self.bar)}, drawn</th>' if self.bar else ""
        largest = max((abs(value) for value in map(self._bar, self.rows) if value is not None), default=0.0)
        body = "".join(f"<tr>{self._row(row)}{self._drawn(row, largest)}</tr>" for row in self.rows)
        caption = f"<caption>{escape(self.caption)}</caption>"
        table = f"<table>{caption}<thead><tr>{heads}</tr></thead><tbody>{body}</tbody></table>"
        return scrolled(self.caption, table, narrow=len(self.columns) <= MAX_NARROW)

    def _cells(self, row: tuple[Cell, ...]) -> Iterator[tuple[Column, Cell]]:
        return zip(self.columns, row, strict=True)

    def _row(self, row: tuple[Cell, ...]) -> str:
        cells = []
        for place, (column, cell) in enumerate(self._cells(row)):
            tag, scope = ("th", ' scope="row"') if place == 0 else ("td", "")
            raw = escape(json.dumps(cell)) if cell is not None and not isinstance(cell, str) else ""
            value = f' data-value="{raw}"' if raw else ""
            cells.append(f"<{tag}{scope}{_number(column)}{value}>{escape(column.show(cell))}</{tag}>")
        return "".join(cells)

    def _bar(self, row: tuple[Cell, ...]) -> float | None:
        names = [column.name for column in self.columns]
        value = row[names.index(self.bar)] if self.bar in names else None
        return float(value) if isinstance(value, int | float) else None

    def _drawn(self, row: tuple[Cell, ...], largest: float) -> str:
        if self.bar is None:
            return ""
        value = self._bar(row)
        width = 100 * abs(value) / largest if value is not None and largest else 0.0
        shown = next(column for column in self.columns if column.name == self.bar).show(value)
        picture = f'<rect width="{width:.2f}" height="10"/>'
        view = 'viewBox="0 0 100 10" preserveAspectRatio="none" role="img"'
        return f'<td class="bar"><svg {view} aria-label="{escape(f"{row[0]}: {shown}")}">{picture}</svg></td>'


def _number(column: Column) -> str:
    return ' class="number"' if column.is_number else ""


@dataclass(frozen=True)
class Code:
    """A text of a program, an IR or the like; `folded` shows its title alone until it is asked for."""

    title: str
    text: str
    language: str = ""
    folded: bool = False

    def data(self) -> dict[str, Any]:
        return {"kind": "code", "title": self.title, "text": self.text}

    def markdown(self) -> str:
        fence = "````" if "```" in self.text else "```"
        return f"{self.title}:\n\n{fence}{self.language}\n{self.text.rstrip()}\n{fence}\n"

    def html(self) -> str:
        label = escape(self.title)
        text = f'<pre tabindex="0" role="region" aria-label="{label}"><code>{escape(self.text.rstrip())}</code></pre>'
        return f"<details><summary>{label}</summary>{text}</details>" if self.folded else f"<p>{label}:</p>{text}"


@dataclass(frozen=True)
class Items:
    """A list of sentences."""

    texts: tuple[str, ...]

    def data(self) -> dict[str, Any]:
        return {"kind": "list", "items": list(self.texts)}

    def markdown(self) -> str:
        return "".join(f"- {text}\n" for text in self.texts)

    def html(self) -> str:
        return "<ul>" + "".join(f"<li>{escape(text)}</li>" for text in self.texts) + "</ul>"


Block = Paragraph | TableBlock | Code | Items | ScatterBlock


@dataclass(frozen=True)
class Section:
    """A heading and what stands under it; `name` is its anchor."""

    name: str
    title: str
    blocks: Sequence[Block] = field(default_factory=tuple)

    def data(self) -> dict[str, Any]:
        return {"name": self.name, "title": self.title, "blocks": [block.data() for block in self.blocks]}

    def markdown(self) -> str:
        return f"## {self.title}\n\n" + "\n".join(block.markdown() for block in self.blocks)

    def html(self) -> str:
        blocks = "\n".join(block.html() for block in self.blocks)
        heading = f'<h2 id="{self.name}-title">{escape(self.title)}</h2>'
        return f'<section id="{self.name}" aria-labelledby="{self.name}-title">\n{heading}\n{blocks}\n</section>'


def document_html(title: str, sections: Sequence[Section], footer: str) -> str:
    """Header with links to the sections, main, footer."""
    links = "".join(f'<li><a href="#{each.name}">{escape(each.title)}</a></li>' for each in sections)
    body = "\n".join(section.html() for section in sections)
    return (
        f'<header>\n<h1>{escape(title)}</h1>\n<nav aria-label="Sections"><ul>{links}</ul></nav>\n</header>\n'
        f"<main>\n{body}\n</main>\n<footer><p>{escape(footer)}</p></footer>"
    )


def document_markdown(title: str, sections: Sequence[Section], footer: str) -> str:
    return f"# {title}\n\n" + "\n".join(section.markdown() for section in sections) + f"\n{footer}\n"
