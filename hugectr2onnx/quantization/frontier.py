"""The choices of formats that were tried as a picture: the time of a call against what the predictions lost."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from html import escape

from hugectr2onnx.quantization.metrics import Quality, Trial

WIDTH, HEIGHT, MARGIN = 640, 360, 56
TITLE = b"<title>hugectr2onnx: formats that were tried</title>"


def is_frontier(head: bytes) -> bool:
    """Tell whether a file begins as one of these pictures."""
    return TITLE in head


def on_frontier(trials: Sequence[Trial]) -> tuple[Trial, ...]:
    """Return those that no other beats in time and in loss at once, the fastest first."""
    best: list[Trial] = []
    timed = [trial for trial in trials if trial.microseconds is not None and trial.quality]
    for trial in sorted(timed, key=lambda each: (each.microseconds or 0.0, loss(each.quality, trials[0].quality))):
        if not best or loss(trial.quality, trials[0].quality) < loss(best[-1].quality, trials[0].quality):
            best.append(trial)
    return tuple(best)


def loss(quality: Mapping[str, Quality], before: Mapping[str, Quality]) -> float:
    """Tell what the worst label lost of its AUC; the mean change of its predictions where there are no labels."""
    lost = [before[label].auc - each.auc for label, each in quality.items() if each.auc == each.auc]
    return max(lost, default=max((each.mean_change for each in quality.values()), default=0.0))


def draw_frontier(trials: Sequence[Trial]) -> str:
    """Return an SVG; choices beyond the budget are hollow, and a line joins those that no other beats."""
    timed = [trial for trial in trials if trial.microseconds is not None and trial.quality]
    before = trials[0].quality if trials else {}
    points = [(trial.microseconds or 0.0, loss(trial.quality, before)) for trial in timed]
    across, up = (_Scale([point[axis] for point in points]) for axis in (0, 1))

    def place(point: tuple[float, float]) -> tuple[float, float]:
        x = MARGIN + across(point[0]) * (WIDTH - 2 * MARGIN)
        return x, HEIGHT - MARGIN - up(point[1]) * (HEIGHT - 2 * MARGIN)

    frontier = [place((trial.microseconds or 0.0, loss(trial.quality, before))) for trial in on_frontier(trials)]
    has_labels = any(each.auc == each.auc for each in before.values())
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" font-family="sans-serif" font-size="11">',
        TITLE.decode(),
        f'<rect width="{WIDTH}" height="{HEIGHT}" fill="white"/>',
        f'<path d="M{MARGIN} {MARGIN}V{HEIGHT - MARGIN}H{WIDTH - MARGIN}" fill="none" stroke="black"/>',
        f'<text x="{WIDTH / 2}" y="{HEIGHT - 16}" text-anchor="middle">microseconds of one call</text>',
        f'<text x="{MARGIN}" y="{MARGIN - 20}">{"AUC lost" if has_labels else "mean change of a prediction"}</text>',
        f'<polyline points="{" ".join(f"{x:.1f},{y:.1f}" for x, y in frontier)}" fill="none" stroke="#1f77b4"/>',
    ]
    for trial, point in zip(timed, points, strict=True):
        x, y = place(point)
        name = (
            trial.precision if isinstance(trial.precision, str) else ", ".join(map("=".join, trial.precision.items()))
        )
        fill = "#1f77b4" if trial.allowed else "white"
        parts.append(f'<circle cx="{x:.1f}" cy="{y:.1f}" r="4" fill="{fill}" stroke="#1f77b4"/>')
        parts.append(
            f'<text x="{x:.1f}" y="{y - 8:.1f}" text-anchor="middle">{escape(name)}: {point[0]:.0f} us, {point[1]:.2g}</text>'
        )
    return "\n".join([*parts, "</svg>\n"])


class _Scale:
    """Numbers as shares of the way from the least to the largest."""

    def __init__(self, values: Sequence[float]):
        self._least, self._most = min(values, default=0.0), max(values, default=1.0)

    def __call__(self, value: float) -> float:
        return (value - self._least) / (self._most - self._least) if self._most > self._least else 0.5
