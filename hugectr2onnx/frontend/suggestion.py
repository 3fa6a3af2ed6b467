"""The nearest known names, for error messages."""

from __future__ import annotations

from collections.abc import Iterable
from difflib import get_close_matches


def nearest(name: str, known: Iterable[str], most: int = 3) -> str:
    """Such as `did you mean fc1, fc2?`; names what there is where nothing is near."""
    names = sorted(set(known))
    near = near_names(name, names, most)
    if near:
        return f"did you mean {', '.join(near)}?"
    listed = ", ".join(names[:12]) + (", ..." if len(names) > 12 else "")
    return f"known: {listed or 'none'}"


def near_names(name: str, known: Iterable[str], most: int = 3) -> list[str]:
    """Return the known names that look like a name, upper and lower case apart."""
    spelled = {each.lower(): each for each in known}
    return [spelled[each] for each in get_close_matches(name.lower(), spelled, most)]
