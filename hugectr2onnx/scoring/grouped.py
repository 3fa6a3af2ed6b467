"""HitRate@k and NDCG@k: how high the positives of each group stand, as NCF is evaluated (one group for each user)."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from hugectr2onnx.errors import FeedError
from hugectr2onnx.ir.types import Array


class GroupedCounter:
    """Takes samples whose groups follow one another; a group's samples must be consecutive.

    Groups without a positive are left out. Equal predictions share their places: NDCG averages the gain over them, as
    scikit-learn's `ndcg_score` does; a hit among equals at the border of the first k counts by the share of them within.
    """

    def __init__(self, names: Sequence[str]) -> None:
        self.ranks = {name: int(name.partition("@")[2]) for name in names if "@" in name}
        self.sums = dict.fromkeys(self.ranks, 0.0)
        self.groups = 0
        self._open: tuple[object, list[Array], list[Array]] | None = None
        self._seen: set[object] = set()

    def add(self, predictions: Array, labels: Array, groups: Array | None) -> None:
        """Take in one batch. Raises FeedError without groups, and for a group that comes a second time."""
        if groups is None:
            raise FeedError(
                "hitrate and ndcg need the group of each sample: name an id column as group (--group COLUMN)"
            )
        if not len(groups):
            return
        borders = np.flatnonzero(groups[1:] != groups[:-1]) + 1
        for start, stop in zip([0, *borders.tolist()], [*borders.tolist(), len(groups)], strict=True):
            self._extend(_plain(groups[start]), predictions[start:stop], labels[start:stop])

    def _extend(self, group: object, predictions: Array, labels: Array) -> None:
        if self._open is None or self._open[0] != group:
            self._close()
            if group in self._seen:
                raise FeedError(f"the samples of group {group!r} do not follow one another; sort the data by group")
            self._seen.add(group)
            self._open = (group, [], [])
        self._open[1].append(predictions)
        self._open[2].append(labels)

    def _close(self) -> None:
        if self._open is None:
            return
        predictions, labels = np.concatenate(self._open[1]), np.concatenate(self._open[2])
        self._open = None
        if not (labels > 0.5).any():
            return
        self.groups += 1
        for name, k in self.ranks.items():
            measure = hit_rate if name.startswith("hitrate") else ndcg
            self.sums[name] += measure(predictions, labels, k)

    def scores(self) -> dict[str, float]:
        """Return the mean over the groups; NaN without any."""
        self._close()
        return {name: total / self.groups if self.groups else float("nan") for name, total in self.sums.items()}


def _plain(group: object) -> object:
    """Return a number of numpy as one of Python; text is as it should be."""
    return group.item() if isinstance(group, np.generic) else group


def hit_rate(predictions: Array, labels: Array, k: int) -> float:
    """Return the chance that a positive is among the k largest predictions, equals in random order."""
    positive = labels > 0.5
    if len(labels) <= k:
        return 1.0
    border = np.sort(predictions)[-k]
    if positive[predictions > border].any():
        return 1.0
    equals = positive[predictions == border]
    places = k - int((predictions > border).sum())
    misses, total = int((~equals).sum()), len(equals)
    miss = 1.0
    for drawn in range(places):
        miss *= max(0, misses - drawn) / (total - drawn)
    return 1.0 - miss


def ndcg(predictions: Array, labels: Array, k: int) -> float:
    """Discounted gain of the first k over the best possible one; equals share the mean gain of their places."""
    discount = 1 / np.log2(np.arange(len(labels)) + 2)
    discount[k:] = 0
    _, place, counts = np.unique(-predictions, return_inverse=True, return_counts=True)
    gains = np.zeros(len(counts))
    np.add.at(gains, place, labels)
    sums = np.add.reduceat(discount, np.append(0, np.cumsum(counts)[:-1]))
    best = float((np.sort(labels)[::-1] * discount).sum())
    return float((gains / counts * sums).sum()) / best
