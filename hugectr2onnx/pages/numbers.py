"""Numbers as a reader wants them, the same in a terminal, on a page and in a drawing."""

from __future__ import annotations


def size(count: int | None) -> str:
    """Bytes: `1.2 MB`; a dash where there are none."""
    if count is None:
        return "-"
    for unit, scale in (("TB", 1e12), ("GB", 1e9), ("MB", 1e6), ("kB", 1e3)):
        if count >= scale:
            return f"{count / scale:.1f} {unit}"
    return f"{count} B"


def number(value: float | None) -> str:
    """Three or four digits: `1,234`, `12.3`, `1.5e-07`; a dash where there is none."""
    if value is None:
        return "-"
    if value == 0 or 1e-3 <= abs(value) < 1e4:
        return f"{value:.4g}"
    return f"{value:,.0f}" if 1e4 <= abs(value) < 1e12 else f"{value:.2e}"
