"""`python -m benchmarks runtime`: the latency of every candidate in every case, beside its floor."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from benchmarks.candidates import Against, Candidate, compile_level, compiled_candidate, other_candidate
from benchmarks.case import CaseRun, Effort
from benchmarks.errors import BenchmarkError
from benchmarks.records import Case, FailureLine, Line
from hugectr2onnx.errors import HugeCTR2ONNXError
from hugectr2onnx.latency.bound_calls import Feed, Settings
from hugectr2onnx.latency.floor_parts import Probe
from hugectr2onnx.sample_models import SAMPLES, sample_feeds, write_sample
from hugectr2onnx.sample_models.size import Scale

FLOOR_LEVEL = 2
MOST_SAMPLES = 8192
"""Feeds of a large batch are fewer: their keys differ enough among themselves."""


@dataclass(frozen=True)
class Plan:
    """The models, levels, batches and threads to measure."""

    models: Sequence[str] = ()
    levels: Sequence[int] = (0, 2, 3)
    batches: Sequence[int] = (1, 16, 64, 256, 1024, 4096)
    threads: Sequence[int] = (1, 2)
    effort: Effort = field(default_factory=Effort)
    against: Sequence[Against] = ()
    scale: Scale = "realistic"
    rows: int | None = None
    feeds: int = 8
    opset: int = 17
    spinning: bool = True
    seed: int = 0
    time_different: bool = False

    def all_models(self) -> list[str]:
        return list(self.models) or list(SAMPLES)

    def all_levels(self) -> list[int]:
        """Level 0 first: every ratio needs it."""
        return list(dict.fromkeys([0, *self.levels]))

    def others(self, model: str) -> list[Against]:
        return [each for each in self.against if each.model in (None, model)]


@dataclass(frozen=True)
class _Model:
    """A sample with its candidates and, by batch, the feeds that all of them get."""

    candidates: Sequence[Candidate]
    probe: Probe
    feeds: Mapping[int, Sequence[Feed]]


def check(plan: Plan) -> None:
    """Raises BenchmarkError for a plan that cannot be carried out."""
    unknown = [name for name in plan.all_models() if name not in SAMPLES]
    if unknown:
        raise BenchmarkError(f"There is no sample model {', '.join(unknown)}; there are {', '.join(SAMPLES)}.")
    if any(each.model is None for each in plan.against) and len(plan.all_models()) != 1:
        raise BenchmarkError("--against NAME=FILE needs one model; with several, say --against MODEL:NAME=FILE.")
    missing = [f"{each.name}={each.path}" for each in plan.against if not each.path.is_file()]
    if missing:
        raise BenchmarkError(f"--against names files that there are not: {', '.join(missing)}")
    strange = [each.model for each in plan.against if each.model not in (None, *plan.all_models())]
    if strange:
        raise BenchmarkError(f"--against names {', '.join(map(str, strange))}, which is not measured.")


def run(plan: Plan, folder: Path, progress: Callable[[str], None]) -> Iterator[Line]:
    """The lines, case by case; samples are written to folders of their names inside `folder`.

    A model that does not compile gives a FailureLine; BenchmarkError ends the run.
    """
    check(plan)
    for name in plan.all_models():
        progress(f"{name}: writing and compiling")
        try:
            model = _prepare(plan, name, folder)
        except BenchmarkError:
            raise
        except HugeCTR2ONNXError as error:
            progress(f"{name}: left out. {error.describe()}")
            yield FailureLine(name, str(error))
            continue
        for threads in plan.threads:
            for batch in plan.batches:
                progress(f"{name}: batch {batch}, {threads} thread{'s' if threads > 1 else ''}")
                case = Case(name, plan.scale, batch, threads)
                settings = Settings(threads, spinning=plan.spinning)
                taking_part = CaseRun(
                    case, model.candidates, model.probe, model.feeds[batch], settings, plan.time_different
                )
                yield from taking_part.lines(plan.effort)


def _prepare(plan: Plan, name: str, folder: Path) -> _Model:
    sample = write_sample(name, folder / name, seed=plan.seed, scale=plan.scale, rows=plan.rows)
    compiled = {level: compile_level(sample, level, plan.opset) for level in {*plan.all_levels(), FLOOR_LEVEL}}
    feeds = {
        batch: [sample_feeds(sample, batch, seed) for seed in range(_feed_count(plan, batch))] for batch in plan.batches
    }
    candidates = [compiled_candidate(compiled[level]) for level in plan.all_levels()]
    candidates += [other_candidate(each, feeds[plan.batches[0]][0]) for each in plan.others(name)]
    _require_different_names(candidates)
    return _Model(candidates, Probe(compiled[FLOOR_LEVEL].artifact), feeds)


def _feed_count(plan: Plan, batch: int) -> int:
    return max(1, min(plan.feeds, MOST_SAMPLES // batch))


def _require_different_names(candidates: Sequence[Candidate]) -> None:
    names = [each.name for each in candidates]
    twice = {name for name in names if names.count(name) > 1}
    if twice:
        raise BenchmarkError(
            f"Several candidates are called {', '.join(sorted(twice))}: give each --against its own name."
        )
