"""The budget: how much worse a model may become by smaller formats."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import numpy as np

from hugectr2onnx.errors import FeedError, OptionError
from hugectr2onnx.quantization.metrics import Quality

SHARES = ("auc", "logloss", "rank", "calibration")
_NUMBERS = ("max", "mean")
BY_LABELS = ("auc", "logloss")
_LIMIT = re.compile(
    rf"(?:({'|'.join(SHARES)}):(\d{{1,3}}(?:\.\d{{1,9}})?)%|({'|'.join(_NUMBERS)}):(\d{{0,9}}\.?\d{{1,12}}(?:e-?\d{{1,2}})?))"
)


@dataclass(frozen=True)
class Limit:
    """One measure and its limit.

    auc: of at least so many per cent of that of the model that rounds nothing (MLPerf's rule for DLRM has 99.9 %). logloss:
    of at most so many per cent more. max, mean: the largest and the mean change of a prediction. rank: a rank correlation of
    at least so many per cent. calibration: the mean prediction moves by at most so many per cent of itself.
    """

    measure: str
    value: float

    def used(self, before: Quality, after: Quality) -> float:
        """Return the share of the limit that is used up: beyond 1 it is exceeded; nan where it is not defined."""
        lost, allowed = self._lost(before, after)
        if lost != lost:
            return float("nan")
        if allowed > 0:
            return lost / allowed
        return math.inf if lost > 0 else 0.0

    def allows(self, before: Quality, after: Quality) -> bool:
        if self.measure == "auc":
            return after.auc >= self.value / 100 * before.auc
        if self.measure == "logloss":
            return after.log_loss <= (1 + self.value / 100) * before.log_loss
        return self.used(before, after) <= 1

    def _lost(self, before: Quality, after: Quality) -> tuple[float, float]:
        share = self.value / 100
        match self.measure:
            case "auc":
                return before.auc - after.auc, (1 - share) * before.auc
            case "logloss":
                return after.log_loss - before.log_loss, share * before.log_loss
            case "rank":
                return 1 - after.rank_correlation, 1 - share
            case "calibration":
                return after.calibration_change, share
            case "max":
                return after.max_change, self.value
            case _:
                return after.mean_change, self.value


@dataclass(frozen=True)
class Budget:
    """`auc:99.9%,max:1e-2`: every limit holds for every label."""

    limits: tuple[Limit, ...]

    @staticmethod
    def parse(text: str) -> Budget:
        parts = text.split(",") if isinstance(text, str) else []
        limits = [_limit(part.strip()) for part in parts]
        if not limits or None in limits:
            raise OptionError(
                f"the budget is {text!r}; say it as auc:99.9% or logloss:0.1%, max:1e-2, mean:1e-3, rank:99.9% or "
                "calibration:1%, with commas between several",
                option="budget",
            )
        return Budget(tuple(limit for limit in limits if limit is not None))

    @property
    def needs_labels(self) -> bool:
        return any(limit.measure in BY_LABELS for limit in self.limits)

    @property
    def needs_predictions(self) -> bool:
        """Whether the predictions of the model that rounds nothing are compared with."""
        return any(limit.measure not in BY_LABELS for limit in self.limits)

    def allows(self, before: Mapping[str, Quality], after: Mapping[str, Quality]) -> bool:
        """Tell whether every label is within the budget."""
        return all(limit.allows(one, other) for limit, one, other in self._pairs(before, after))

    def used(self, before: Mapping[str, Quality], after: Mapping[str, Quality]) -> float:
        """Return the largest share of a limit that is used up; what is not defined is beyond all."""
        shares = [limit.used(one, other) for limit, one, other in self._pairs(before, after)]
        return max((math.inf if share != share else share for share in shares), default=0.0)

    def _pairs(
        self, before: Mapping[str, Quality], after: Mapping[str, Quality]
    ) -> Iterator[tuple[Limit, Quality, Quality]]:
        for label, quality in before.items():
            yield from ((limit, quality, after[label]) for limit in self.limits)

    def check(self, before: Mapping[str, Quality]) -> None:
        """Raise FeedError where the samples cannot tell."""
        measures = {limit.measure for limit in self.limits}
        for quality in before.values():
            if "auc" in measures and quality.auc != quality.auc:
                raise FeedError(f"the AUC of {quality.label} is not defined: the samples must hold both labels")
            if "logloss" in measures and quality.log_loss != quality.log_loss:
                raise FeedError(f"the log-loss of {quality.label} is not defined: its predictions are not from 0 to 1")
            if measures - set(BY_LABELS) and not np.isfinite(quality.max_change):
                raise FeedError(
                    f"changes of {quality.label} are not defined: in float32 it is NaN or infinite for some samples; "
                    "leave out samples with features that are not finite"
                )
            if "rank" in measures and quality.samples < 2:
                raise FeedError(f"the rank correlation of {quality.label} is not defined: give two samples or more")


def _limit(text: str) -> Limit | None:
    match = _LIMIT.fullmatch(text)
    if match is None:
        return None
    limit = Limit(match[1] or match[3], float(match[2] or match[4]))
    return None if limit.measure in ("auc", "rank") and limit.value > 100 else limit
