"""Styles of keys that an invented table may have (see `tables.invent_keys`)."""

from __future__ import annotations

from typing import Literal

KeyStyle = Literal["offsets", "hashes", "ids"]
KEY_STYLES: tuple[KeyStyle, ...] = ("offsets", "hashes", "ids")

UNSEEN = 1.25
"""Ids of a vocabulary for each one that training saw."""


def equal_slots(rows: int, slots: int) -> int:
    """Return the size of each slot's vocabulary where keys are offset and nobody told sizes: a fifth was never seen."""
    return -(-int(rows * UNSEEN) // slots)
