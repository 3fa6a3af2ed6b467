"""Measure how large a box must be for its text, in points; the layout and the SVG agree on it here."""

from __future__ import annotations

from hugectr2onnx.drawing.diagram import Box

TITLE_POINTS, LINE_POINTS, LINE_HEIGHT, MARGIN = 12.0, 10.0, 13.0, 8.0
CHARACTER_WIDTH = 0.56
"""Of the font size: a little more than the mean of a sans-serif font, so that text stays inside."""
MAX_LINES, MAX_CHARACTERS = 7, 52


def shown_lines(box: Box) -> list[str]:
    """Return the lines that a box shows; what is left out is in its tooltip."""
    lines = [line if len(line) <= MAX_CHARACTERS else f"{line[: MAX_CHARACTERS - 1]}…" for line in box.lines]
    left_out = len(lines) - MAX_LINES
    return lines if left_out <= 0 else [*lines[: MAX_LINES - 1], f"… and {left_out + 1} more"]


def text_width(text: str, points: float) -> float:
    return CHARACTER_WIDTH * points * len(text)


def box_size(box: Box) -> tuple[float, float]:
    """Width and height."""
    lines = shown_lines(box)
    widest = max([text_width(box.title, TITLE_POINTS), *(text_width(line, LINE_POINTS) for line in lines)])
    return max(widest, 40.0) + 2 * MARGIN, LINE_HEIGHT * (len(lines) + 1) + 2 * MARGIN
