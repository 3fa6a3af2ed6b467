"""Candidates of a case: the model at each level, and any other ONNX file for it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import hugectr2onnx
from benchmarks.errors import BenchmarkError
from hugectr2onnx.backend.runtime.sessions import open_session
from hugectr2onnx.compiled_model import CompiledModel
from hugectr2onnx.errors import FeedError
from hugectr2onnx.latency.bound_calls import Feed, Settings
from hugectr2onnx.latency.matching import Wanted, adapt, match, wanted_inputs
from hugectr2onnx.sample_models import SamplePaths


@dataclass(frozen=True)
class Candidate:
    """A model that can be opened any number of times; `adapt` makes its feed of the sample's."""

    name: str
    nodes: int
    open: Callable[[Any], Any] = field(repr=False)
    adapt: Callable[[Feed], Feed] = field(repr=False, default=lambda feed: feed)
    seconds: float | None = None
    """Seconds that compiling took."""
    is_judged: bool = False
    """Whether it is timed only if it computes what level 0 does; the levels are proven as they are compiled."""


@dataclass(frozen=True)
class Against:
    """`[MODEL:]NAME=FILE`: another file, for one model or, without MODEL, for the only one that is measured."""

    name: str
    path: Path
    model: str | None = None


def parse_against(text: str) -> Against:
    """Raises BenchmarkError for anything but `[MODEL:]NAME=FILE`."""
    label, equals, path = text.partition("=")
    model, colon, name = label.rpartition(":")
    if not equals or not name or not path or (colon and not model):
        raise BenchmarkError(f"--against {text}: expected NAME=FILE.onnx, or MODEL:NAME=FILE.onnx.")
    return Against(name, Path(path), model or None)


def level_name(level: int) -> str:
    return f"level {level}"


NAIVE = level_name(0)
"""The candidate that all ratios refer to."""


def compile_level(sample: SamplePaths, level: int, opset: int = 17) -> CompiledModel:
    """The sample compiled as its users would."""
    return hugectr2onnx.compile(sample.graph, sample.weights, level, opset=opset)


def compiled_candidate(compiled: CompiledModel) -> Candidate:
    report = compiled.report
    return Candidate(level_name(report.opt_level), report.onnx_nodes, compiled.session, seconds=report.seconds)


def other_candidate(against: Against, feed: Feed) -> Candidate:
    """The file as a candidate; raises BenchmarkError unless it can be opened and every input of it fed."""
    try:
        wanted = wanted_inputs(
            open_session(against.path, options=Settings(optimization="none").options()), against.name
        )
        matched = match(wanted, feed, against.name)
    except FeedError as error:
        raise BenchmarkError(f"--against {against.name}: {error}") from error
    return Candidate(
        against.name,
        _count_nodes(against.path),
        lambda options: open_session(against.path, options=options),
        _adapter(wanted, matched),
        is_judged=True,
    )


def _adapter(wanted: Sequence[Wanted], matched: dict[str, str]) -> Callable[[Feed], Feed]:
    return lambda feed: adapt(wanted, matched, feed)


def _count_nodes(path: Path) -> int:
    import onnx

    return len(onnx.load(path, load_external_data=False).graph.node)
