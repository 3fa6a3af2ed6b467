"""Styles of keys that an invented table may have (see `tables.invent_keys`)."""

from __future__ import annotations

from typing import Literal

KeyStyle = Literal["offsets", "hashes", "ids"]
KEY_STYLES: tuple[KeyStyle, ...] = ("offsets", "hashes", "ids")
