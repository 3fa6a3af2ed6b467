"""Text and tables for a reader, with rich where it is installed."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, TextIO


def printable(text: str, newline: str = "\n") -> str:
    """Text without control characters: names come from files, and must not drive the terminal."""
    return "".join(
        newline if c == "\n" else c if c.isprintable() else c.encode("unicode_escape").decode() for c in text
    )


def size(count: int | None) -> str:
    """Bytes for a reader: `1.2 MB`."""
    if count is None:
        return "-"
    for unit, scale in (("GB", 1e9), ("MB", 1e6), ("kB", 1e3)):
        if count >= scale:
            return f"{count / scale:.1f} {unit}"
    return f"{count} B"


def duration(seconds: float) -> str:
    """Time for a reader: `12 s`, `3 min`, `1.5 h`."""
    if seconds < 100:
        return f"{seconds:.0f} s" if seconds >= 10 else f"{max(seconds, 0.1):.1f} s"
    return f"{seconds / 60:.0f} min" if seconds < 6000 else f"{seconds / 3600:.1f} h"


def cell(value: object) -> str:
    """One value: a dash where there is none, numbers in groups of three digits."""
    if value is None:
        return "-"
    return f"{value:,}" if isinstance(value, int) and not isinstance(value, bool) else str(value)


def plain_table(columns: Sequence[str], cells: Sequence[Sequence[str]], right: Sequence[str]) -> Iterator[str]:
    """The lines of a table in columns."""
    widths = [max(map(len, column)) for column in zip(columns, *cells, strict=True)]
    for row in (columns, *cells):
        aligned = [
            cell.rjust(width) if name in right else cell.ljust(width)
            for name, cell, width in zip(columns, row, widths, strict=True)
        ]
        yield "  " + "  ".join(aligned).rstrip()


def rich_console(stream: TextIO) -> Any:
    """A rich console, or None where rich is not installed."""
    try:
        from rich.console import Console
    except ImportError:
        return None
    return Console(file=stream, highlight=False)


def rich_table(console: Any, columns: Sequence[str], cells: Sequence[Sequence[str]], right: Sequence[str]) -> None:
    """A table on a rich console."""
    from rich import box
    from rich.table import Table
    from rich.text import Text

    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    for column in columns:
        table.add_column(column, justify="right" if column in right else "left", overflow="fold")
    for row in cells:
        # Text, not str: a shape such as [N, 13] is no markup.
        table.add_row(*map(Text, row))
    console.print(table)
