"""One feed and what a graph answers to it: in float64, in float32, and in float32 with other roundings where it matters."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from types import MappingProxyType

import numpy as np

from hugectr2onnx.ir import tolerance
from hugectr2onnx.ir.evaluator import evaluate_values
from hugectr2onnx.ir.graph import Graph, Value
from hugectr2onnx.ir.hidden_units import Active, rectified, watch
from hugectr2onnx.ir.ops.structural import Const, Input
from hugectr2onnx.ir.rounding_noise import noisy_evaluations
from hugectr2onnx.ir.types import Array

MAX_MODERATE = 1e12
"""Hidden values of models that mean something stay below; cross networks leave it behind on features of 100."""


@dataclass(frozen=True, eq=False)
class Expectation:
    """The reference's answers by name; `graph` and `values` are what they come from, if they can be worked out again."""

    batch: int
    feeds: Mapping[str, Array]
    reference: Mapping[str, Array]
    rounded: Mapping[str, Array]
    graph: Graph | None = None
    values: Mapping[str, Value] | None = None
    active: Active = field(default_factory=dict)
    """Which hidden units the feed wakes up."""
    given: Mapping[Value, Array] = field(default_factory=dict)
    """Values that are taken as they are: see `evaluator.evaluate_values`."""

    def errors(self, name: str, found: Array) -> tuple[Array, Array]:
        """Error and tolerance of each element of an answer (see `ir.tolerance`)."""
        return tolerance.errors(self.reference[name], self.rounded[name], found, lambda: self.more_rounded(name))

    def more_rounded(self, name: str) -> list[Array]:
        """Return the answer in float32 with other roundings, several times."""
        return [each[name] for each in self._noisy]

    @cached_property
    def _noisy(self) -> Sequence[Mapping[str, Array]]:
        if self.graph is None or self.values is None:
            return ()
        return noisy_evaluations(self.graph, self.values, self.feeds, given=self.given)


def expect(
    graph: Graph,
    values: Mapping[str, Value],
    feeds: Mapping[str, Array],
    batch: int,
    given: Mapping[Value, Array] = MappingProxyType({}),
) -> Expectation:
    """Return a graph's answers for some values by name; the graph must not change afterwards; `given` are known."""
    wanted, active = list(values.values()), dict[str, Array]()
    exact = evaluate_values(graph, wanted, feeds, adjust=watch(rectified(graph), active), given=given)
    rounded = evaluate_values(graph, wanted, feeds, precision=np.float32, given=given)
    reference, in_float32 = dict(zip(values, exact, strict=True)), dict(zip(values, rounded, strict=True))
    return Expectation(batch, feeds, reference, in_float32, graph, values, active, given)


def stays_moderate(graph: Graph, feeds: Mapping[str, Array]) -> bool:
    """Tell whether no number on the way exceeds MAX_MODERATE: far beyond it, sums overflow in one order and not in another."""
    reached = [0.0]

    def note(value: Value, array: Array) -> Array:
        if array.dtype.kind == "f" and array.size and not isinstance(value.op, Input | Const):
            reached[0] = max(reached[0], float(np.abs(np.nan_to_num(array, nan=np.inf)).max()))
        return array

    with np.errstate(all="ignore"):
        evaluate_values(graph, list(graph.outputs.values()), feeds, precision=np.float32, adjust=note)
    return reached[0] <= MAX_MODERATE


def wakes_more(graph: Graph, feeds: Mapping[str, Array], known: Active) -> bool:
    """Tell whether a feed wakes up hidden units that slept so far."""
    active = dict[str, Array]()
    evaluate_values(graph, [], feeds, precision=np.float32, adjust=watch(rectified(graph), active))
    return any((units & ~known[layer]).any() for layer, units in active.items())
