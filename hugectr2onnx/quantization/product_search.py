"""The products that may be computed in bytes within a budget, and the fastest choice among them.

All products that gain are tried in bytes first, and where that is beyond the budget with a scale for each row. Where that is
too, each layer is tried alone, which says how much of the budget it uses up; then layers go back to float32: those that are
beyond the budget alone, and of the others those first that use up most for what they gain, until the rest is within it. Every
choice is measured on the samples and timed; the fastest of those that are within the budget is taken.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from hugectr2onnx.passes.precision.quantize_products import (
    BYTES,
    EXACT,
    OTHERS,
    ROW_BYTES,
    SEARCHED,
    ProductPrecision,
)
from hugectr2onnx.quantization.budget import Budget
from hugectr2onnx.quantization.metrics import Formats, Quality, Trial

MAX_SEARCH_SECONDS = 25.0
"""After so long nothing new is tried."""


@dataclass(frozen=True)
class Tried:
    """A model with a choice of precisions: its products, its quality, and the time of one call."""

    products: Sequence[ProductPrecision]
    quality: Mapping[str, Quality]
    microseconds: float
    rows: int


@dataclass
class ProductSearch:
    """`build` compiles a choice of precisions and measures it; `fixed` is what the caller gave."""

    build: Callable[[Formats], Tried]
    budget: Budget
    embedding: Formats = "fp32"
    fixed: Formats = SEARCHED
    clock: Callable[[], float] = time.monotonic
    trials: list[Trial] = field(default_factory=list)
    _tried: dict[object, Tried] = field(default_factory=dict)

    def run(self) -> Formats:
        """Search; the choice that is taken. `trials` then has them all, the one without any rounding first."""
        end = self.clock() + MAX_SEARCH_SECONDS
        before = self._try(EXACT)
        self.budget.check(before.quality)
        everything = self._try(self._without(()))
        layers = _layers(everything.products, self.pinned)
        if not self._is_allowed(everything) and not self._is_allowed_by_row(end):
            self._drop_layers(layers, end)
        fastest = min((each for each in self.trials if each.allowed), key=lambda each: each.microseconds or 0.0)
        return fastest.precision

    @property
    def why_exact(self) -> str:
        """Tell why a search that is done left all products in float32."""
        rounded = self.trials[1:]
        if not rounded:
            return "none is large enough to gain in bytes"
        if not any(trial.allowed for trial in rounded):
            return "no choice of products in bytes that was tried is within the budget"
        return "products in bytes are within the budget, and not faster on this machine"

    def _is_allowed_by_row(self, end: float) -> bool:
        if self.clock() > end:
            return False
        tried = self._try(self._without((), ROW_BYTES))
        return any(each.precision == ROW_BYTES for each in tried.products) and self._is_allowed(tried)

    def _drop_layers(self, layers: Mapping[str, int], end: float) -> None:
        used = dict(self._sensitivities(layers, end))
        # A layer that is beyond the budget alone goes back in any case, however much it gains.
        order = sorted(used, key=lambda layer: (used[layer] > 1, used[layer] / layers[layer]), reverse=True)
        beyond = sum(share > 1 for share in used.values())
        for count in range(max(1, beyond), len(order)):
            if self.clock() > end:
                return
            if self._is_allowed(self._try(self._without(order[:count]))):
                return

    def _sensitivities(self, layers: Mapping[str, int], end: float) -> Iterator[tuple[str, float]]:
        """Tell how much of the budget each layer uses up alone; for those that there is no time for, nobody knows."""
        for layer in layers:
            if self.clock() > end:
                yield layer, float("inf")
                continue
            alone = self._try(self._without([other for other in layers if other != layer]))
            yield layer, self.budget.used(self.trials[0].quality, alone.quality)

    def _try(self, precision: Formats) -> Tried:
        """Build and measure a choice, once; one that leaves all products in float32 is no trial of its own."""
        key = frozenset(precision.items()) if isinstance(precision, Mapping) else precision
        if key in self._tried:
            return self._tried[key]
        tried = self._tried[key] = self.build(precision)
        if precision != EXACT and all(each.precision == EXACT for each in tried.products):
            return tried
        allowed = precision == EXACT or self._is_allowed(tried)
        self.trials.append(
            Trial(self.embedding, tried.quality, allowed, None, precision, tried.microseconds, tried.rows)
        )
        return tried

    def _is_allowed(self, tried: Tried) -> bool:
        return self.budget.allows(self.trials[0].quality, tried.quality)

    @property
    def pinned(self) -> Mapping[str, str]:
        """What the caller gave for single layers."""
        given = self.fixed if isinstance(self.fixed, Mapping) else {}
        return {layer: each for layer, each in given.items() if layer != OTHERS and each != SEARCHED}

    def _without(self, layers: Sequence[str], others: str = BYTES) -> Formats:
        """Return all in bytes but some layers, and but those that the caller gave."""
        given = {**self.pinned, **dict.fromkeys(layers, EXACT)}
        return {OTHERS: others, **given} if given else others


def _layers(products: Sequence[ProductPrecision], pinned: Mapping[str, str]) -> dict[str, int]:
    """Return the layers in bytes, each by the last that it computes, with their multiplications for a row."""
    found: dict[str, int] = {}
    for each in products:
        if each.precision != EXACT and each.layers and not pinned.keys() & set(each.layers):
            found[each.layers[-1]] = found.get(each.layers[-1], 0) + each.k * each.n
    return found
