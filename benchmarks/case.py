"""One case: all candidates and the floor measured in turn, then each candidate profiled."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from benchmarks.candidates import NAIVE, Candidate
from benchmarks.errors import BenchmarkError
from benchmarks.records import CandidateLine, Case, FloorLine, LeftOutLine
from hugectr2onnx.backend.runtime.sessions import run
from hugectr2onnx.errors import FeedError
from hugectr2onnx.ir.types import Array
from hugectr2onnx.latency import figures, turns
from hugectr2onnx.latency.answers import OutputDifference, all_same, compare_outputs
from hugectr2onnx.latency.bound_calls import BoundCalls, Feed, Settings
from hugectr2onnx.latency.floor import CALL, FloorParts, floor_of
from hugectr2onnx.latency.floor_models import floor_calls
from hugectr2onnx.latency.floor_parts import Probe
from hugectr2onnx.latency.profile import Profile, profile

FLOOR_SHARE = 0.3
"""The share of a case's time that its floor gets."""
SLOWEST = 10
MICRO = 1e6


@dataclass(frozen=True)
class Effort:
    """The time to spend on a case: `seconds` for all candidates and the floor together, over so many rounds.

    `sessions` is how often everything is opened anew, in another order: where the weights happen to lie in memory makes
    the same model several per cent faster or slower for as long as its session lives.
    """

    rounds: int = 15
    seconds: float = 3.0
    sessions: int = 3
    profile_runs: int = 30

    def rounds_of(self, session: int) -> int:
        """The rounds of one of the openings: at least one."""
        return max(1, (self.rounds + session) // self.sessions)


@dataclass(frozen=True)
class Medians:
    """Seconds by round: of every candidate, and the floor."""

    candidates: Mapping[str, list[float]]
    floor: list[float]


@dataclass(frozen=True)
class CaseRun:
    """The candidates, the floor and the inputs of a case."""

    case: Case
    candidates: Sequence[Candidate]
    probe: Probe
    feeds: Sequence[Feed]
    settings: Settings
    time_different: bool = False

    def lines(self, effort: Effort) -> Iterator[CandidateLine | FloorLine | LeftOutLine]:
        """The floor, then a line for each candidate; one that computes something else is left out, unless asked for."""
        differences = {each.name: self._differences(each) for each in self.candidates}
        different = [each for each in self.candidates if each.is_judged and not all_same(differences[each.name])]
        if different and not self.time_different:
            for each in different:
                yield LeftOutLine(self.case, each.name, "; ".join(map(str, differences[each.name])))
            kept = [each for each in self.candidates if each not in different]
            yield from replace(self, candidates=kept).lines(effort)
            return
        parts, indices = self.probe.look(self.feeds)
        measured: dict[str, turns.Rounds] = {}
        for number in range(effort.sessions):
            for name, rounds in self._measure(effort, number, parts, indices).items():
                measured.setdefault(name, []).extend(rounds)
        by_round = {name: figures.round_medians(rounds) for name, rounds in measured.items()}
        medians = _medians(by_round, parts)
        yield _floor_line(self.case, by_round, medians, parts)
        for each in self.candidates:
            errors = [found.max_error for found in differences[each.name]]
            difference = None if None in errors else max((error or 0.0 for error in errors), default=0.0)
            yield _line(self.case, each, measured[each.name], medians, self._profile(each, effort), difference)

    def _measure(
        self, effort: Effort, number: int, parts: FloorParts, indices: Sequence[Mapping[str, Array]]
    ) -> dict[str, turns.Rounds]:
        """A share of the rounds, everything freshly opened."""
        turn = number % len(self.candidates)
        ordered = [*self.candidates[turn:], *self.candidates[:turn]]
        calls: dict[str, turns.Calls] = {
            each.name: BoundCalls(each.open(self.settings.options()), self._feeds_of(each)).calls() for each in ordered
        }
        below = floor_calls(self.probe, parts.counts, indices, self.settings)
        weights = dict.fromkeys(calls, (1 - FLOOR_SHARE) / len(calls)) | dict.fromkeys(below, FLOOR_SHARE / len(below))
        seconds = effort.seconds / effort.sessions
        return turns.in_turn({**calls, **below}, rounds=effort.rounds_of(number), seconds=seconds, weights=weights)

    def _feeds_of(self, candidate: Candidate) -> list[Feed]:
        return [candidate.adapt(feed) for feed in self.feeds]

    def _profile(self, candidate: Candidate, effort: Effort) -> Profile | None:
        if not effort.profile_runs:
            return None
        return profile(candidate.open, self._feeds_of(candidate), self.settings, effort.profile_runs)

    def _differences(self, candidate: Candidate) -> tuple[OutputDifference, ...]:
        return compare_outputs(self._outputs(self.candidates[0]), self._outputs(candidate))

    def _outputs(self, candidate: Candidate) -> dict[str, Array]:
        try:
            return run(candidate.open(self.settings.options()), candidate.adapt(self.feeds[0]))
        except FeedError as error:
            raise BenchmarkError(f"{candidate.name}: {error}. Does it lack keys of the sample's tables?") from error


def _medians(by_round: Mapping[str, list[float]], parts: FloorParts) -> Medians:
    counts = {str(part): count for part, count in parts.counts.items()}
    others = {name: seconds for name, seconds in by_round.items() if name not in {CALL, *counts}}
    return Medians(others, floor_of(by_round[CALL], {name: by_round[name] for name in counts}, counts))


def _floor_line(case: Case, by_round: Mapping[str, list[float]], medians: Medians, parts: FloorParts) -> FloorLine:
    call = float(np.median(by_round[CALL]))
    spelled = [
        (str(part), count, MICRO * max(0.0, float(np.median(by_round[str(part)])) - call))
        for part, count in parts.counts.items()
    ]
    floor = MICRO * float(np.median(medians.floor))
    return FloorLine(case, floor, MICRO * call, spelled, parts.uncounted, parts.weight_bytes)


def _line(
    case: Case,
    candidate: Candidate,
    rounds: turns.Rounds,
    medians: Medians,
    profiled: Profile | None,
    difference: float | None,
) -> CandidateLine:
    timed = figures.latency(rounds)
    mine = medians.candidates[candidate.name]
    return CandidateLine(
        case=case,
        candidate=candidate.name,
        nodes=candidate.nodes,
        executed=profiled.nodes if profiled else None,
        runs=timed.runs,
        median_us=MICRO * timed.median,
        fastest_us=MICRO * timed.fastest,
        p99_us=MICRO * timed.p99 if timed.p99 is not None else None,
        ratio=figures.ratio(medians.candidates[NAIVE], mine),
        of_floor=figures.ratio(mine, medians.floor),
        above_floor_us=MICRO * float(np.median(np.subtract(mine, medians.floor))),
        difference=difference,
        compile_seconds=candidate.seconds,
        ops=profiled.shares if profiled else {},
        slowest=profiled.slowest(SLOWEST) if profiled else [],
    )
