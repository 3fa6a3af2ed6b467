"""Rows that go to other places, and what must stand there, worked out by hand."""

from __future__ import annotations

import numpy as np

from hugectr2onnx.tables.gathered import Gathered

ROWS = 13


def part(keep: int = ROWS) -> Gathered:
    """Rows of 2 numbers: row i of the source, [i, -i], goes to place (7 i) mod 13; place 13 has no row."""
    source = np.stack([np.arange(ROWS), -np.arange(ROWS)], axis=1).astype(np.float32)
    order = np.empty(ROWS + 1, np.int64)
    order[7 * np.arange(ROWS) % ROWS] = np.arange(ROWS)
    order[ROWS] = -1
    order[order >= keep] = -1
    return Gathered(source, order, fill=0.5)


def expected(keep: int = ROWS) -> np.ndarray:
    """Place p has the row i with 7 i = p (mod 13), which is 2 p mod 13, since 7 * 2 = 14 = 1."""
    rows = [2 * place % ROWS for place in range(ROWS)]
    placed = [[row, -row] if row < keep else [0.5, 0.5] for row in rows]
    return np.array([*placed, [0.5, 0.5]], np.float32)
