"""`bench`: how long ONNX files take on this machine, where the time goes, and how they stand beside one another."""

from __future__ import annotations

import os
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from hugectr2onnx.datasets.recorded_predictions import ATOL, RECORDED_RTOL
from hugectr2onnx.errors import OptionError, UnsupportedError
from hugectr2onnx.latency import figures, machine, turns
from hugectr2onnx.latency.answers import OutputDifference, all_same, compare_outputs
from hugectr2onnx.latency.bound_calls import Feed, Settings
from hugectr2onnx.latency.feeds import DatasetFeeds, DrawnFeeds
from hugectr2onnx.latency.floor import CALL, FloorParts, floor_of
from hugectr2onnx.latency.floor_models import floor_calls
from hugectr2onnx.latency.floor_parts import Probe
from hugectr2onnx.latency.measured_file import MeasuredFile, OnOpenVINO
from hugectr2onnx.latency.openvino_calls import RUNTIME
from hugectr2onnx.latency.profile import Profile
from hugectr2onnx.latency.result import BenchedFile, Benchmark, FileLatency, FloorLatency
from hugectr2onnx.options import Progress

BATCHES, THREADS = (1, 64, 1024), (1,)
BENCH_SECONDS = 2.0
MAX_ROUNDS, MIN_ROUNDS = 15, 3
OPENINGS = 2
"""How often everything is opened anew, in another order: where weights happen to lie in memory makes the same model several
per cent faster or slower for as long as its session lives."""
PROFILE_CALLS = 30
PROFILE_SHARE = 0.25
FLOOR_SHARE = 0.3
SLOWEST = 10
MICRO = 1e6


def bench(
    model: Any,
    *others: Any,
    batch: int | Sequence[int] = BATCHES,
    threads: int | Sequence[int] = THREADS,
    data: Any = None,
    seconds: float = BENCH_SECONDS,
    operators: bool = True,
    floor: bool = False,
    openvino: bool = False,
    time_different: bool = False,
    rtol: float = RECORDED_RTOL,
    atol: float = ATOL,
    seed: int = 0,
    names: Sequence[str] | None = None,
    progress: Progress | None = None,
    **dataset_options: Any,
) -> Benchmark:
    """Measure how long ONNX files take, in turn on the same inputs, and where the time goes.

    model, others: paths of ONNX files, of this compiler or any other, or CompiledModels; all are compared with the first.
    batch, threads: one or several; each pair is a case of about `seconds` for all files together. data: what `predict`
    reads (`dataset_options` are those of `open_dataset`); without it inputs are drawn, with keys that the first file knows.
    operators: profile each file too. floor: measure what the first file's products and gathers take alone. openvino: run the
    first file on OpenVINO too (extra `openvino`). names: what to call the files.

    The outputs of all files are compared first, within `atol + rtol * |output|`: a file that computes something else is
    left out, unless time_different is given. Raises FeedError for a file that cannot be opened or fed with the inputs of
    the first, or that fails on them; OptionError for batches, threads and seconds that are none.
    """
    cases = _cases(_numbers(batch, "batch"), _numbers(threads, "threads"))
    if not 0 < seconds < 86400:
        raise OptionError(f"seconds is {seconds}; give a number above 0", option="seconds")
    given = [model, *others]
    titles = _titles(given) if names is None else list(names)
    files = [MeasuredFile.open(each, title) for each, title in zip(given, titles, strict=True)]
    notes = []
    if openvino:
        try:
            files.append(OnOpenVINO.of(files[0]))
        except UnsupportedError as error:
            notes.append(f"{files[0].name} was not run on {RUNTIME}: {error}")
    batches = sorted({batch for batch, _ in cases})
    source = DrawnFeeds(files[0].artifact, seed) if data is None else _dataset(files[0], data, batches, dataset_options)
    job = _Job(files, source, seconds, operators, floor, time_different, rtol, atol, progress, notes)
    return job.run(cases)


def _cases(batches: Sequence[int], threads: Sequence[int]) -> list[tuple[int, int]]:
    return [(batch, count) for count in threads for batch in batches]


def _numbers(given: int | Sequence[int], name: str) -> list[int]:
    found = [given] if isinstance(given, int) else list(dict.fromkeys(given))
    if not found or any(isinstance(each, bool) or not isinstance(each, int) or each < 1 for each in found):
        raise OptionError(f"{name} is {given!r}; give whole numbers from 1 up", option=name)
    return found


def _titles(given: Sequence[Any]) -> list[str]:
    """Return the names of the files, without their folders where that tells them apart."""
    paths = ["the compiled model" if hasattr(each, "artifact") else os.fspath(each) for each in given]
    short = [os.path.basename(path) for path in paths]
    chosen = short if len(set(short)) == len(short) else paths
    return [f"{name} ({chosen[:place].count(name) + 1})" if name in chosen[:place] else name
            for place, name in enumerate(chosen)]  # fmt: skip


def _dataset(file: MeasuredFile, data: Any, batches: Sequence[int], options: Mapping[str, Any]) -> DatasetFeeds:
    return DatasetFeeds.open(data, file.model, batches, **options)


@dataclass(frozen=True, eq=False)
class _Job:
    files: Sequence[MeasuredFile]
    source: DrawnFeeds | DatasetFeeds
    seconds: float
    operators: bool
    floor: bool
    time_different: bool
    rtol: float
    atol: float
    progress: Progress | None
    notes: list[str] = field(default_factory=list)

    def run(self, cases: Sequence[tuple[int, int]]) -> Benchmark:
        self._tell("outputs", 0.0)
        differences = self._differences(min(batch for batch, _ in cases), max(batch for batch, _ in cases))
        timed = [file for file in self.files if self.time_different or all_same(differences[file.name])]
        benched = tuple(
            BenchedFile(file.name, file.bytes, file.nodes, differences[file.name], file in timed) for file in self.files
        )
        left_out = [file.name for file in self.files if file not in timed]
        self.notes.extend(
            f"{name} computes something else ({'; '.join(map(str, differences[name]))}): it was not timed"
            for name in left_out
        )
        timings: list[FileLatency] = []
        floors: list[FloorLatency] = []
        probe = Probe(self.files[0].artifact) if self.floor else None
        for number, (batch, threads) in enumerate(cases):
            self._tell(
                f"batch {batch}, {threads} thread{'s' if threads > 1 else ''}", (number + 0.5) / (len(cases) + 1)
            )
            case = _Case(timed, self.source.feeds(batch), batch, threads, self.seconds, probe)
            found, floor = case.measure(self.operators)
            timings += found
            floors += [floor] if floor is not None else []
        self._tell("done", 1.0)
        on_openvino = {file.name for file in timed if isinstance(file, OnOpenVINO)}
        self.notes.extend(_where_faster(each for each in timings if each.file in on_openvino))
        if isinstance(self.source, DatasetFeeds) and self.source.rows < max(batch for batch, _ in cases):
            self.notes.append(f"the data holds {self.source.rows} samples: a larger batch repeats them")
        if any(each.p99_us is None for each in timings):
            self.notes.append(
                f"a 99th percentile needs {figures.P99_RUNS:,} calls: give more seconds where it is missing"
            )
        return Benchmark(
            benched, self.source.name, tuple(timings), tuple(floors), tuple(self.notes), machine.describe()
        )

    def _tell(self, stage: str, share: float) -> None:
        if self.progress is not None:
            self.progress(stage, share)

    def _differences(self, *batches: int) -> dict[str, tuple[OutputDifference, ...]]:
        """Return the differences of each file's outputs from those of the first, at the batch where they are largest."""
        found: dict[str, tuple[OutputDifference, ...]] = {file.name: () for file in self.files}
        for batch in dict.fromkeys(batches):
            feed = self.source.feeds(batch)[0]
            expected = self.files[0].answers(self.files[0].adapted(feed))
            for file in self.files[1:]:
                own = compare_outputs(expected, file.answers(file.adapted(feed)), self.rtol, self.atol)
                found[file.name] = own if all_same(found[file.name]) else found[file.name]
        return found


@dataclass(frozen=True, eq=False)
class _Case:
    """All files at one batch with some threads."""

    files: Sequence[MeasuredFile]
    feeds: Sequence[Feed]
    batch: int
    threads: int
    seconds: float
    probe: Probe | None

    @property
    def settings(self) -> Settings:
        return Settings(self.threads)

    def measure(self, operators: bool) -> tuple[list[FileLatency], FloorLatency | None]:
        """Return the figures of every file, and of the floor where there is a probe."""
        floor = self.probe.look(self.feeds) if self.probe is not None else None
        measured: dict[str, turns.Rounds] = {}
        slowest = sum(self._seconds_of_a_call(file) for file in self.files)
        for number in range(OPENINGS):
            for name, rounds in self._opened(number, slowest, floor).items():
                measured.setdefault(name, []).extend(rounds)
        medians = {name: figures.round_medians(rounds) for name, rounds in measured.items()}
        below = _floor_rounds(floor[0], medians) if floor is not None else None
        timings = []
        for file in self.files:
            profiled = self._profile(file, figures.latency(measured[file.name]).median) if operators else None
            timings.append(self._latency(file, measured, medians, below, profiled))
        if below is None or floor is None:
            return timings, None
        call = MICRO * float(np.median(medians[CALL]))
        lowest = FloorLatency(self.batch, self.threads, MICRO * float(np.median(below)), call, floor[0].uncounted)
        return timings, lowest

    def _seconds_of_a_call(self, file: MeasuredFile) -> float:
        (call, *_) = file.calls(self.settings, self.feeds[:1])
        start = time.perf_counter()
        call()
        return time.perf_counter() - start

    def _opened(self, number: int, call: float, floor: tuple[FloorParts, Any] | None) -> dict[str, turns.Rounds]:
        """Return a share of the rounds, everything freshly opened; fewer rounds and feeds where calls are slow."""
        place = number % len(self.files)
        ordered = [*self.files[place:], *self.files[:place]]
        seconds = self.seconds / OPENINGS
        rounds = max(MIN_ROUNDS, min(MAX_ROUNDS, int(seconds / max(call, 1e-9))) // OPENINGS)
        feeds = self.feeds[: max(1, rounds)]
        calls = {file.name: file.calls(self.settings, feeds) for file in ordered}
        if floor is None or self.probe is None:
            return turns.in_turn(calls, rounds=rounds, seconds=seconds)
        below = floor_calls(self.probe, floor[0].counts, floor[1], self.settings)
        weights = dict.fromkeys(calls, (1 - FLOOR_SHARE) / len(calls)) | dict.fromkeys(below, FLOOR_SHARE / len(below))
        return turns.in_turn({**calls, **below}, rounds=rounds, seconds=seconds, weights=weights)

    def _profile(self, file: MeasuredFile, call: float) -> Profile | None:
        calls = max(3, min(PROFILE_CALLS, int(PROFILE_SHARE * self.seconds / max(call, 1e-9))))
        return file.profile(self.settings, self.feeds[:calls], calls)

    def _latency(
        self,
        file: MeasuredFile,
        measured: Mapping[str, turns.Rounds],
        medians: Mapping[str, list[float]],
        below: list[float] | None,
        profiled: Profile | None,
    ) -> FileLatency:
        timed = figures.latency(measured[file.name])
        own = medians[file.name]
        return FileLatency(
            file=file.name,
            batch=self.batch,
            threads=self.threads,
            calls=timed.runs,
            median_us=MICRO * timed.median,
            fastest_us=MICRO * timed.fastest,
            p99_us=MICRO * timed.p99 if timed.p99 is not None else None,
            samples_per_second=self.batch / timed.median,
            speed=figures.ratio(medians[self.files[0].name], own),
            of_floor=figures.ratio(own, below) if below is not None else None,
            executed=profiled.nodes if profiled else None,
            operators=profiled.shares if profiled else {},
            slowest=tuple(profiled.slowest(SLOWEST)) if profiled else (),
        )


def _where_faster(on_openvino: Iterable[FileLatency]) -> Iterator[str]:
    """Tell where OpenVINO is faster than the first file on onnxruntime, by more than the rounds differ."""
    for each in on_openvino:
        if each.speed.low > 1:
            yield (
                f"{RUNTIME} is {each.speed.median:.2f} times as fast at batch {each.batch}, {each.threads} "
                f"thread{'s' if each.threads > 1 else ''}; it keeps 32 bits of a key"
            )


def _floor_rounds(parts: FloorParts, medians: Mapping[str, list[float]]) -> list[float]:
    counts = {str(part): count for part, count in parts.counts.items()}
    return floor_of(medians[CALL], {name: medians[name] for name in counts}, counts)
