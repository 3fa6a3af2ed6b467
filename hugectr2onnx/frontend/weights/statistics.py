"""Get BatchNorm's running statistics: from the ntp file, invented, or none."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

import numpy as np

from hugectr2onnx.errors import WeightsError
from hugectr2onnx.frontend.weights.ntp_file import BatchNormStatistics
from hugectr2onnx.ir.types import Array


class StatisticsSource(Protocol):
    """Statistics in the order of the BatchNorm layers (layers 2.2)."""

    def take(self, features: int) -> tuple[Array, Array]:
        """Mean and variance of the next BatchNorm layer, float32[features] each."""

    def finish(self) -> None:
        """Raise WeightsError if entries are left over."""


class NtpStatistics:
    """The entries of an ntp file, one for each BatchNorm; `None` where no file was given."""

    def __init__(self, entries: Sequence[BatchNormStatistics] | None):
        self._entries = entries
        self._taken = 0

    def take(self, features: int) -> tuple[Array, Array]:
        if self._entries is None:
            raise WeightsError(
                "BatchNorm needs its running statistics: give the ntp file, which HugeCTR writes beside the dense file "
                "as <dense file>.ntp.json"
            )
        if self._taken == len(self._entries):
            raise WeightsError(f"the ntp file has {self._taken} BatchNorm entries and the graph more BatchNorm layers")
        self._taken += 1
        entry = self._entries[self._taken - 1].features(features)
        return entry.mean, entry.var

    def finish(self) -> None:
        if self._entries is not None and self._taken < len(self._entries):
            raise WeightsError(
                f"the ntp file has {len(self._entries)} BatchNorm entries and the graph {self._taken} BatchNorm layers: "
                "it belongs to another model"
            )


class InventedStatistics:
    """Random statistics, kept for writing: `entries` has a pair for each BatchNorm."""

    def __init__(self, generator: np.random.Generator):
        self._generator = generator
        self.entries: list[tuple[Array, Array]] = []

    def take(self, features: int) -> tuple[Array, Array]:
        mean = self._generator.normal(0, 0.2, features).astype(np.float32)
        var = self._generator.uniform(0.5, 1.5, features).astype(np.float32)
        self.entries.append((mean, var))
        return self.entries[-1]

    def finish(self) -> None:
        return None


class CountedStatistics:
    """Zeros and ones without memory, for dry runs."""

    def take(self, features: int) -> tuple[Array, Array]:
        return np.broadcast_to(np.float32(0), (features,)), np.broadcast_to(np.float32(1), (features,))

    def finish(self) -> None:
        return None
