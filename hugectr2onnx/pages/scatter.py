"""A picture of pairs: points beside the line on which both numbers are the same. SVG without a script."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from html import escape
from typing import Any

from hugectr2onnx.pages.numbers import number

_SIDE = 240
"""Units of the picture's square."""
_MARGIN = 28


@dataclass(frozen=True)
class ScatterBlock:
    """Pairs (x, y) on two axes of one range. Pairs that are not finite are counted, not drawn."""

    caption: str
    x: str
    y: str
    pairs: tuple[tuple[float, float], ...]

    def data(self) -> dict[str, Any]:
        return {"kind": "pairs", "caption": self.caption, "x": self.x, "y": self.y, "pairs": [*map(list, self.pairs)]}

    def markdown(self) -> str:
        return f"{self.caption}: {self._summary()}\n"

    def html(self) -> str:
        low, high = self._range()
        points = "".join(f'<circle cx="{at(x):.1f}" cy="{_SIDE - at(y):.1f}" r="2"/>' for at, x, y in self._placed())
        line = f'<line x1="0" y1="{_SIDE}" x2="{_SIDE}" y2="0"/><rect width="{_SIDE}" height="{_SIDE}"/>'
        texts = (
            f'<text x="0" y="{_SIDE + 14}">{number(low)}</text>'
            f'<text x="{_SIDE}" y="{_SIDE + 14}" text-anchor="end">{number(high)}</text>'
            f'<text x="{_SIDE / 2}" y="{_SIDE + 14}" text-anchor="middle">{escape(self.x)}</text>'
            f'<text x="{-_SIDE / 2}" y="-8" transform="rotate(-90)" text-anchor="middle">{escape(self.y)}</text>'
        )
        view = f"{-_MARGIN} {-8} {_SIDE + _MARGIN + 8} {_SIDE + _MARGIN}"
        shape = f'class="scatter" viewBox="{view}" role="img" aria-label="{escape(self._summary())}"'
        caption = f"<figcaption>{escape(self.caption)}</figcaption>"
        return f"<figure>{caption}<svg {shape}>{line}{points}{texts}</svg></figure>"

    def _finite(self) -> list[tuple[float, float]]:
        return [pair for pair in self.pairs if all(map(math.isfinite, pair))]

    def _range(self) -> tuple[float, float]:
        values = [value for pair in self._finite() for value in pair] or [0.0, 1.0]
        low, high = min(values), max(values)
        return (low, high) if high > low else (low - 0.5, high + 0.5)

    def _placed(self) -> Iterator[tuple[Any, float, float]]:
        low, high = self._range()

        def at(value: float) -> float:
            return _SIDE * (value - low) / (high - low)

        yield from ((at, x, y) for x, y in self._finite())

    def _summary(self) -> str:
        low, high = self._range()
        finite = len(self._finite())
        beyond = f", {len(self.pairs) - finite} more that are not finite" if finite < len(self.pairs) else ""
        return f"{finite} pairs of {self.x} and {self.y} between {number(low)} and {number(high)}{beyond}"
