"""How large a sample becomes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

Scale = Literal["small", "realistic"]
SCALES: tuple[Scale, ...] = ("small", "realistic")
SMALL_ROWS = 1000

# The vocabulary sizes of the 26 columns of Criteo, as NVIDIA's DeepFM sample has them; the skew is what matters here.
CRITEO_SLOTS = (
    203931, 18598, 14092, 7012, 18977, 4, 6385, 1245, 49, 186213, 71328, 67288, 11,
    2168, 7338, 61, 4, 932, 15, 204515, 141526, 199433, 60919, 9137, 71, 34,
)  # fmt: skip


@dataclass(frozen=True)
class Size:
    """The scale, and the rows that the caller asked for: of every table, or by top."""

    scale: Scale
    wanted: int | Mapping[str, int] | None = None

    def rows(self, top: str, realistic: int) -> int:
        wanted = self.wanted.get(top) if isinstance(self.wanted, Mapping) else self.wanted
        if wanted is not None:
            return wanted
        return realistic if self.scale == "realistic" else min(realistic, SMALL_ROWS)

    def width(self, realistic: int, small: int) -> int:
        return realistic if self.scale == "realistic" else small


def criteo_slots(rows: int) -> list[int]:
    """Criteo's vocabulary sizes, made to hold about so many ids in all."""
    total = sum(CRITEO_SLOTS)
    return [max(2, -(-rows * size // total)) for size in CRITEO_SLOTS]
