"""Metrics of predictions on labelled data, label by label, worked out batch by batch."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from hugectr2onnx.errors import FeedError
from hugectr2onnx.ir.types import Array
from hugectr2onnx.scoring.grouped import GroupedCounter
from hugectr2onnx.scoring.ranking import RankingCounter

METRICS = (
    "auc",
    "logloss",
    "normalized_entropy",
    "calibration",
    "accuracy",
    "average_precision",
    "hitrate",
    "ndcg",
)
DEFAULT_METRICS = METRICS[:6]
EPSILON = float(np.finfo(np.float32).eps)
"""Predictions nearer to 0 or 1 count as so near in the log-loss: float32 has nothing in between."""
Scores = Mapping[str, Mapping[str, float]]


def check_metrics(names: Sequence[str]) -> tuple[str, ...]:
    """Return the names of metrics, `hitrate@10` and `ndcg@10` with a rank. Raises FeedError for one that does not exist."""
    for name in names:
        kind, at, rank = name.partition("@")
        ranked = kind in ("hitrate", "ndcg")
        if (
            kind not in METRICS
            or ranked != bool(at)
            or (at and not (rank.isascii() and rank.isdigit() and int(rank) > 0))
        ):
            known = ", ".join(f"{each}@K" if each in ("hitrate", "ndcg") else each for each in METRICS)
            raise FeedError(f"there is no metric {name!r}; there are {known}")
    return tuple(dict.fromkeys(names))


@dataclass
class Metrics:
    """The metrics of every label that the data has; `add` each batch, then `scores`.

    A label of several columns is scored column by column, as `label[0]`, `label[1]`, ...
    """

    names: tuple[str, ...] = DEFAULT_METRICS
    _labels: dict[str, _LabelCounter] = field(default_factory=dict)

    def add(self, predictions: Mapping[str, Array], labels: Mapping[str, Array], groups: Array | None = None) -> None:
        """Take in one batch. Raises FeedError for labels that are not 0 or 1, or of other columns than the predictions."""
        for name, truth in labels.items():
            given = predictions[name].reshape(len(truth), -1)
            if truth.shape[1] != given.shape[1]:
                raise FeedError(f"{name} has {truth.shape[1]} label columns and {given.shape[1]} predictions a sample")
            for column in range(given.shape[1]):
                called = name if given.shape[1] == 1 else f"{name}[{column}]"
                counter = self._labels.setdefault(called, _LabelCounter(self.names))
                counter.add(called, given[:, column], truth[:, column], groups)

    def scores(self) -> dict[str, dict[str, float]]:
        """{label: {metric: value}}, NaN where a metric is not defined on this data."""
        return {name: dict(counter.scores()) for name, counter in self._labels.items()}


class _LabelCounter:
    def __init__(self, names: tuple[str, ...]) -> None:
        self.names = names
        self.ranking = RankingCounter() if {"auc", "average_precision"} & set(names) else None
        self.grouped = GroupedCounter(names) if any("@" in name for name in names) else None
        self.samples = self.positives = self.right = 0
        self.loss = self.predicted = 0.0
        self.is_probability = True

    def add(self, name: str, predictions: Array, labels: Array, groups: Array | None) -> None:
        if not ((labels == 0) | (labels == 1)).all():
            wrong = labels[(labels != 0) & (labels != 1)][0]
            raise FeedError(f"{name} has the label {wrong:g}; metrics need 0 and 1")
        if self.ranking is not None:
            self.ranking.add(predictions, labels)
        if self.grouped is not None:
            self.grouped.add(predictions, labels, groups)
        positive = labels > 0.5
        exact = predictions.astype(np.float64)
        self.samples += len(labels)
        self.positives += int(positive.sum())
        self.right += int(((predictions > 0.5) == positive).sum())
        self.predicted += float(exact.sum())
        if not ((exact >= 0) & (exact <= 1)).all():
            self.is_probability = False
            return
        clipped = np.clip(exact, EPSILON, 1 - EPSILON)
        self.loss -= float(np.log(np.where(positive, clipped, 1 - clipped)).sum())

    def scores(self) -> Iterator[tuple[str, float]]:
        known = self._values()
        if self.ranking is not None:
            ranking = self.ranking.result()
            known |= {"auc": ranking.auc, "average_precision": ranking.average_precision}
        if self.grouped is not None:
            known |= self.grouped.scores()
        yield from ((name, known[name]) for name in self.names)

    def _values(self) -> dict[str, float]:
        nan = float("nan")
        if not self.samples:
            return dict.fromkeys(METRICS, nan)
        loss = self.loss / self.samples if self.is_probability else nan
        rate = self.positives / self.samples
        entropy = -(rate * math.log(rate) + (1 - rate) * math.log(1 - rate)) if 0 < rate < 1 else nan
        return {
            "logloss": loss,
            "normalized_entropy": loss / entropy,
            "calibration": self.predicted / self.positives if self.positives else nan,
            "accuracy": self.right / self.samples,
        }
