"""Text and tables for a reader: words stay whole, whatever the width of the terminal."""

from __future__ import annotations

import textwrap
from collections.abc import Iterator, Sequence

MARGIN, GAP = 2, 2
"""Columns of blanks in front of a table and between its columns."""
Cells = Sequence[Sequence[str]]


def printable(text: str, newline: str = "\n") -> str:
    """Return text without control characters: names come from files, and must not drive the terminal."""
    return "".join(
        newline if c == "\n" else c if c.isprintable() else c.encode("unicode_escape").decode() for c in text
    )


def duration(seconds: float) -> str:
    """Time for a reader: `12 s`, `3 min`, `1.5 h`."""
    if seconds < 100:
        return f"{seconds:.0f} s" if seconds >= 10 else f"{max(seconds, 0.1):.1f} s"
    return f"{seconds / 60:.0f} min" if seconds < 6000 else f"{seconds / 3600:.1f} h"


def cell(value: object) -> str:
    """Return one value: a dash where there is none, numbers in groups of three digits."""
    if value is None:
        return "-"
    return f"{value:,}" if isinstance(value, int) and not isinstance(value, bool) else str(value)


def wrapped(text: str, width: int | None) -> str:
    """Return text with its lines broken between words; further lines of a paragraph stand two columns to the right of it."""
    if width is None:
        return text
    return "\n".join(part for line in text.split("\n") for part in _wrapped_line(line, width))


def _wrapped_line(line: str, width: int) -> list[str]:
    if len(line) <= width:
        return [line]
    indent = " " * (len(line) - len(line.lstrip()))
    return _broken(line.strip(), width, indent, indent + "  ")


def _broken(text: str, width: int, first: str = "", further: str = "") -> list[str]:
    """Return the lines of a text, broken between words only: one that is longer than the width stands out."""
    return textwrap.wrap(
        text,
        width,
        initial_indent=first,
        subsequent_indent=further,
        break_long_words=False,
        break_on_hyphens=False,
    ) or [""]


def table_lines(columns: Sequence[str], cells: Cells, right: Sequence[str], width: int | None) -> list[str]:
    """Return a table in aligned columns: its head first, which may hold several lines, then a line for each row.

    Where a row is wider than `width`, cells are wrapped between words. Where even that is too wide, each row becomes a
    list of its values, one to a line.
    """
    rows = [columns, *cells]
    widths = _fitting([[row[index] for row in rows] for index in range(len(columns))], width)
    if widths is None:
        return _as_lists(columns, cells, width or 0)
    alignments = [name in right for name in columns]
    return ["\n".join(_aligned(row, widths, alignments)) for row in rows]


def _fitting(columns: Sequence[Sequence[str]], width: int | None) -> list[int] | None:
    """Return the width of each column; None where the longest words alone are too wide together."""
    whole = [max(map(len, column)) for column in columns]
    if width is None:
        return whole
    room = width - MARGIN - GAP * (len(columns) - 1)
    least = [max(max(map(len, text.split()), default=0) for text in column) for column in columns]
    if sum(least) > room:
        return None
    # The widest columns give way first: the largest cap under which all of them fit.
    for cap in range(max(whole), -1, -1):
        widths = [max(low, min(high, cap)) for low, high in zip(least, whole, strict=True)]
        if sum(widths) <= room:
            return widths
    return least


def _aligned(row: Sequence[str], widths: Sequence[int], to_the_right: Sequence[bool]) -> Iterator[str]:
    """Yield the lines of one row."""
    parts = [_broken(text, max(width, 1)) for text, width in zip(row, widths, strict=True)]
    for number in range(max(map(len, parts))):
        texts = [part[number] if number < len(part) else "" for part in parts]
        aligned = [
            text.rjust(width) if is_right else text.ljust(width)
            for text, width, is_right in zip(texts, widths, to_the_right, strict=True)
        ]
        yield (" " * MARGIN + (" " * GAP).join(aligned)).rstrip()


def _as_lists(columns: Sequence[str], cells: Cells, width: int) -> list[str]:
    """Return each row as `name value` lines under its first value; the head stays empty."""
    longest = max(map(len, columns[1:]), default=0)
    return ["", *("\n".join(_as_list(columns, row, longest, width)) for row in cells)]


def _as_list(columns: Sequence[str], row: Sequence[str], longest: int, width: int) -> Iterator[str]:
    yield " " * MARGIN + row[0]
    for name, text in zip(columns[1:], row[1:], strict=True):
        start = " " * (2 * MARGIN) + name.ljust(longest) + " " * GAP
        yield from _broken(text, width, start, " " * len(start)) if text else [start.rstrip()]
