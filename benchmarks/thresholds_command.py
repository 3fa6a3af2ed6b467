"""`python -m benchmarks thresholds`: measure each tuned threshold of `passes.cost` again.

Around each threshold the same graph is optimised twice, with the threshold out of the way on either side, and the two models
are timed in turn. The crossover is where the other form becomes the faster one.
"""

from __future__ import annotations

import argparse
import fnmatch
import json
import math
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.errors import BenchmarkError
from benchmarks.markdown import markdown
from benchmarks.threshold_graphs import graph_of
from hugectr2onnx import passes
from hugectr2onnx.backend.onnx.emitter import emit
from hugectr2onnx.backend.runtime.sessions import onnxruntime
from hugectr2onnx.ir.feeds import feeds_for
from hugectr2onnx.ir.graph import Graph
from hugectr2onnx.latency import figures, turns
from hugectr2onnx.latency.bound_calls import BoundCalls, Settings
from hugectr2onnx.passes import cost
from hugectr2onnx.passes.precision.quantize_products import BYTES, ROW_BYTES, quantize_products

FACTORS = (0.25, 0.5, 1.0, 2.0, 4.0)
"""Where the forms are timed, as multiples of the threshold."""
ROUNDS = 7
THRESHOLDS = {name: value for name, value in vars(cost).items() if isinstance(value, cost.Threshold)}


@dataclass(frozen=True)
class Measured:
    """One threshold and how many times faster the form above it is, by size; `crossover` is None if it never changes."""

    name: str
    threshold: float
    unit: str
    batch: int
    speedups: dict[float, float]
    crossover: float | None


def add_arguments(verb: argparse.ArgumentParser) -> None:
    verb.add_argument("names", nargs="*", metavar="NAME", help="thresholds of passes/cost.py, * allowed; all if none")
    verb.add_argument("--batch", type=int, default=64, help="samples of a call (64)")
    verb.add_argument("--threads", type=int, default=1, help="threads of onnxruntime (1)")
    verb.add_argument("--seconds", type=float, default=2.0, help="for each threshold (2)")
    verb.add_argument("--json", type=Path, help="append a JSON line for each threshold to this file")


def run(arguments: argparse.Namespace) -> int:
    """Measure and print a table; raises BenchmarkError for a name that no threshold has."""
    names = _names(arguments.names)
    settings = Settings(threads=arguments.threads)
    found = []
    for name in names:
        sys.stderr.write(f"{name}\n")
        found.append(measure_threshold(name, arguments.batch, arguments.seconds, settings))
        if arguments.json:
            with arguments.json.open("a", encoding="utf-8") as lines:
                lines.write(json.dumps({"kind": "threshold", **asdict(found[-1])}) + "\n")
    sys.stdout.write(markdown(HEADINGS, [_row(each) for each in found]))
    return 0


OF_BYTES = {"MIN_INT8_WEIGHTS": BYTES, "MIN_INT8_COLUMNS": BYTES, "MIN_ROW_INT8_WEIGHTS": ROW_BYTES}
"""Thresholds that matter where products of bytes are asked for."""
HEADINGS = ("threshold", "set to", "unit", "crossover", "times faster above it, by size")


def _row(found: Measured) -> list[str]:
    crossover = "none" if found.crossover is None else f"{found.crossover:.3g}"
    speedups = ", ".join(f"{size:.3g}: {speedup:.2f}" for size, speedup in found.speedups.items())
    return [found.name, f"{found.threshold:g}", found.unit, crossover, speedups]


def _names(wanted: Sequence[str]) -> list[str]:
    if not wanted:
        return list(THRESHOLDS)
    unknown = [pattern for pattern in wanted if not fnmatch.filter(THRESHOLDS, pattern)]
    if unknown:
        raise BenchmarkError(f"no threshold {unknown[0]}; there are {', '.join(THRESHOLDS)}")
    return [name for name in THRESHOLDS if any(fnmatch.fnmatchcase(name, pattern) for pattern in wanted)]


def measure_threshold(name: str, batch: int, seconds: float, settings: Settings) -> Measured:
    """Time both forms on both sides of a threshold, for about `seconds`."""
    threshold = THRESHOLDS[name]
    sizes = sizes_around(name)
    speedups = {quantity(name, size): _speedup(name, size, batch, seconds / len(sizes), settings) for size in sizes}
    return Measured(name, threshold.value, threshold.unit, batch, speedups, crossover_of(speedups))


def sizes_around(name: str) -> list[int]:
    """The sizes at which a threshold's forms are timed."""
    if name == "MAX_TAKEN_RATIO":
        return [8, 12, 20, 28, 40]  # vectors: `quantity` gives the ratios
    value = THRESHOLDS[name].value
    return sorted({max(2, round(value * factor)) for factor in FACTORS})


def quantity(name: str, size: int) -> float:
    """What the threshold is compared with at a size."""
    if name != "MAX_TAKEN_RATIO":
        return size
    taken = sum(4 * -(-row // 4) for row in range(size))
    return taken / (size * (size - 1) / 2)


def crossover_of(speedups: dict[float, float]) -> float | None:
    """Where the logarithm of the speed-up first changes its sign, between two sizes that were timed."""
    points = [(math.log(size), math.log(speedup)) for size, speedup in sorted(speedups.items())]
    for (x0, y0), (x1, y1) in pairwise(points):
        if y0 * y1 < 0:
            return math.exp(x0 - y0 * (x1 - x0) / (y1 - y0))
    return None


def _speedup(name: str, size: int, batch: int, seconds: float, settings: Settings) -> float:
    """How many times faster the form is that the passes choose above the threshold."""
    calls = {}
    feeds = None
    for form in ("below", "above"):
        graph = optimised(name, size, form)
        feeds = feeds or feeds_for(graph, batch, 0)
        calls[form] = BoundCalls(_session(graph, settings), [feeds]).calls()
    rounds = turns.in_turn(calls, rounds=ROUNDS, seconds=seconds)
    medians = {form: float(np.median(figures.round_medians(each))) for form, each in rounds.items()}
    return medians["below"] / medians["above"]


def optimised(name: str, size: int, form: str) -> Graph:
    """The graph of a threshold in the form that the passes choose below or above it."""
    graph = graph_of(name, size)
    with assumed(name, math.inf if form == "below" else 1.0):
        passes.run(graph, 2)
        if name in OF_BYTES:
            quantize_products(graph, OF_BYTES[name])
    return graph


@contextmanager
def assumed(name: str, value: float) -> Iterator[None]:
    """Let a threshold of `passes.cost` have another value for a while."""
    known = THRESHOLDS[name]
    setattr(cost, name, replace(known, value=value))
    try:
        yield
    finally:
        setattr(cost, name, known)


def _session(graph: Graph, settings: Settings) -> Any:
    model = emit(graph, graph_name="threshold", opset=17, version="0", metadata={}).inline()
    return onnxruntime().InferenceSession(
        model.SerializeToString(), settings.options(), providers=["CPUExecutionProvider"]
    )
