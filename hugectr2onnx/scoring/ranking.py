"""Area under the ROC curve and average precision, exact, in one pass over any number of samples and in bounded memory.

Both depend only on how many positives and negatives have each predicted value. Values are held as sorted runs: 2^20
samples are sorted in memory, then go to a temporary file of 8 bytes a sample. At the end the runs are merged range by
range, ranges being cut where all runs together have 2^20 samples, so that equal values stay together.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import IO, Any

import numpy as np

from hugectr2onnx.ir.types import Array
from hugectr2onnx.tables import paging

RUN_SAMPLES = 1 << 20
"""Samples that are sorted in memory at a time (8 MB)."""


@dataclass(frozen=True)
class Ranking:
    """`auc` is NaN without both classes, `average_precision` without positives; both where a prediction is NaN."""

    positives: int
    negatives: int
    auc: float
    average_precision: float


@dataclass
class RankingCounter:
    """Takes predictions and labels batch by batch; `result` gives the ranking of all of them."""

    run_samples: int = RUN_SAMPLES
    positives: int = 0
    negatives: int = 0
    has_nan: bool = False
    _held: list[Array] = field(default_factory=list)
    _held_samples: int = 0
    _runs: list[Array] = field(default_factory=list)
    _files: list[IO[Any]] = field(default_factory=list)

    def add(self, predictions: Array, labels: Array) -> None:
        """Take in one batch: predictions as float32 or float64 [n], labels [n], a label above 0.5 being positive."""
        positive = labels > 0.5
        count = int(positive.sum())
        self.positives += count
        self.negatives += len(labels) - count
        self.has_nan = self.has_nan or bool(np.isnan(predictions).any())
        self._held.append(_packed(predictions, positive))
        self._held_samples += len(labels)
        if self._held_samples >= self.run_samples:
            self._spill()

    def result(self) -> Ranking:
        """Return the ranking; temporary files are closed, and with that gone."""
        runs = [*self._runs, self._sorted()]
        try:
            area, precision = self._scan(_ranges(runs, self.run_samples))
        finally:
            self._runs.clear()
            for file in self._files:
                file.close()
        return Ranking(self.positives, self.negatives, area, precision)

    def _spill(self) -> None:
        file = tempfile.TemporaryFile(prefix="hugectr2onnx-")  # noqa: SIM115  closed by result()
        file.write(self._sorted().data)
        file.flush()
        self._files.append(file)
        self._runs.append(np.memmap(file, np.uint64, "r"))
        self._held, self._held_samples = [], 0

    def _sorted(self) -> Array:
        values = np.concatenate(self._held) if self._held else np.empty(0, np.uint64)
        values.sort()
        return values

    def _scan(self, ranges: Iterator[Array]) -> tuple[float, float]:
        """Return values ascending: pairs in the right order count once, ties half; precision at each distinct threshold."""
        if self.has_nan or not self.positives:
            return float("nan"), float("nan")
        twice_pairs, precision = 0, 0.0
        below_positive = below_negative = 0
        for packed in ranges:
            values = packed >> np.uint64(1)
            first = np.concatenate([[0], np.flatnonzero(values[1:] != values[:-1]) + 1])
            counts = np.diff(first, append=len(values))
            positive = np.add.reduceat((packed & np.uint64(1)).astype(np.int64), first)
            negative = counts - positive
            before_n = below_negative + np.cumsum(negative) - negative
            before_p = below_positive + np.cumsum(positive) - positive
            # Integers: 10^8 samples make 10^16 pairs, more than float64 keeps exactly; int64 does up to 4 * 10^9 samples.
            twice_pairs += int(np.sum(positive * (2 * before_n + negative)))
            true = self.positives - before_p
            false = self.negatives - before_n
            precision += float(np.sum(positive * (true / (true + false))))
            below_positive += int(positive.sum())
            below_negative += int(negative.sum())
        pairs = self.positives * self.negatives
        return (twice_pairs / (2 * pairs) if pairs else float("nan")), precision / self.positives


def _packed(predictions: Array, positive: Array) -> Array:
    """float32 bits in an order that follows the values, the label in the lowest bit. 0.0 and -0.0 are one value."""
    bits = np.ascontiguousarray(predictions, np.float32) + np.float32(0)
    raw = bits.view(np.uint32)
    ordered = np.where(raw >> 31, ~raw, raw | np.uint32(1 << 31))
    return (ordered.astype(np.uint64) << np.uint64(1)) | positive.astype(np.uint64)


def _ranges(runs: list[Array], samples: int) -> Iterator[Array]:
    """Yield all samples ascending, in pieces that no value straddles; only equal values make a piece above `samples`."""
    runs = [run for run in runs if len(run)]
    starts = [0] * len(runs)
    while any(start < len(run) for start, run in zip(starts, runs, strict=True)):
        share = max(1, samples // len(runs))
        last = [
            run[min(start + share, len(run)) - 1] for start, run in zip(starts, runs, strict=True) if start < len(run)
        ]
        # The smallest of the shares' ends: up to it every run has been seen. The value goes as a whole, both labels.
        bound = min(last) | np.uint64(1)
        ends = [int(np.searchsorted(run, bound, "right")) for run in runs]
        parts = [run[start:end] for run, start, end in zip(runs, starts, ends, strict=True)]
        piece = np.concatenate(parts)
        for part in filter(len, parts):
            paging.forget(part)
        piece.sort()
        starts = ends
        yield piece
