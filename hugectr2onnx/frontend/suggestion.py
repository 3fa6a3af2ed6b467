"""The nearest known names, for error messages."""

from __future__ import annotations

from collections.abc import Iterable
from difflib import get_close_matches


def nearest(name: str, known: Iterable[str], most: int = 3) -> str:
    """Such as `did you mean fc1, fc2?`; names what there is where nothing is near."""
    names = sorted(set(known))
    near = get_close_matches(name, names, most)
    if near:
        return f"did you mean {', '.join(near)}?"
    listed = ", ".join(names[:12]) + (", ..." if len(names) > 12 else "")
    return f"known: {listed or 'none'}"
