"""The size of a sample model."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import cycle, islice
from typing import Literal

from hugectr2onnx.errors import WeightsError

Scale = Literal["small", "realistic"]
SIZES: tuple[Scale, ...] = ("small", "realistic")
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
        if wanted is None:
            return realistic if self.scale == "realistic" else min(realistic, SMALL_ROWS)
        if isinstance(wanted, bool) or not isinstance(wanted, int) or wanted < 0:
            raise WeightsError(f"rows of {top}: expected a number from 0 up, found {wanted!r}")
        return wanted

    def width(self, realistic: int, small: int) -> int:
        return realistic if self.scale == "realistic" else small


def skewed_slots(rows: int, slots: int = len(CRITEO_SLOTS)) -> list[int]:
    """Vocabulary sizes as skewed as Criteo's, for tables of `rows` keys: a tenth of the ids was never seen."""
    sizes = list(islice(cycle(CRITEO_SLOTS), slots))
    return [max(2, -(-11 * rows * size // (10 * sum(sizes)))) for size in sizes]
