"""What the keys of a table look like (see `tables.invent_keys`)."""

from __future__ import annotations

from typing import Literal

KeyStyle = Literal["offsets", "hashes", "ids"]
KEY_STYLES: tuple[KeyStyle, ...] = ("offsets", "hashes", "ids")
