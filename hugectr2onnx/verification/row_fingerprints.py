"""A 64-bit number for each row of a table, so that rows in another order can be compared without fetching them one by one.

Both files are read once, from front to back. The number is a sum of the row's words times random odd numbers, modulo 2^64:
two rows that differ share it with a probability of at most 2^-33 (universal hashing).
"""

from __future__ import annotations

import numpy as np

from hugectr2onnx.ir.types import Array


class Fingerprints:
    """Fingerprints of rows of a number of bytes."""

    def __init__(self, row_bytes: int, seed: int = 0):
        self.row_bytes = row_bytes
        # Words of 64 bits would leave the sign of every second number to a single bit of the sum.
        self.word = np.dtype(next(f"<u{size}" for size in (4, 2, 1) if row_bytes % size == 0))
        generator = np.random.default_rng(seed)
        halves = generator.integers(0, 1 << 63, row_bytes // self.word.itemsize, np.uint64)
        self.weights = halves * np.uint64(2) + np.uint64(1)

    def of(self, rows: Array) -> Array:
        """uint64 [n] for rows [n, ...] of `row_bytes` each, by their bits."""
        words = np.ascontiguousarray(rows).view(np.uint8).reshape(len(rows), self.row_bytes).view(self.word)
        return np.asarray(np.einsum("ij,j->i", words, self.weights))
