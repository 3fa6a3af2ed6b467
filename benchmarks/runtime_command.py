"""Run `runtime`: print its tables, write its files and draw its plots."""

from __future__ import annotations

import argparse
import sys
import tempfile
from pathlib import Path

from benchmarks import baseline, means, plots, records, runtime, tables, targets
from benchmarks.candidates import parse_against
from benchmarks.case import Effort
from benchmarks.records import CandidateLine, FailureLine, FloorLine, LeftOutLine, Line
from hugectr2onnx.latency import machine
from hugectr2onnx.latency.bound_calls import Settings

COMPILE_FAILED = 3


def run(arguments: argparse.Namespace) -> int:
    """Measure, print the tables, write the files.

    Returns 1 where a ratio fell below the baseline, 3 where a model could not be compiled.
    """
    tolerance = baseline.parse_tolerance(arguments.fail_if_slower)
    before = records.load(arguments.baseline) if arguments.baseline else None
    plan = _plan(arguments)
    runtime.check(plan)
    if arguments.out:
        plots.require_matplotlib()
    settings = Settings(spinning=not arguments.no_spinning).to_dict()
    about = {"kind": "machine", **machine.describe(), "settings": settings}
    with tempfile.TemporaryDirectory() as folder:
        lines: list[Line] = list(runtime.run(plan, arguments.samples or Path(folder), _progress))
    lines += means.over_models(lines)
    entries = [about, *(records.to_dict(line) for line in lines)]
    text = _report(lines, slowest=arguments.slowest)
    print(text)
    if arguments.json:
        records.write_text(arguments.json, records.dump(entries))
    if arguments.out:
        _write(arguments.out, lines, entries)
    slower = _compare(before, entries, tolerance) if before is not None else 0
    return COMPILE_FAILED if any(isinstance(line, FailureLine) for line in lines) else slower


def _plan(arguments: argparse.Namespace) -> runtime.Plan:
    return runtime.Plan(
        models=arguments.models,
        levels=arguments.levels,
        batches=arguments.batch,
        threads=arguments.threads,
        effort=Effort(arguments.rounds, arguments.seconds, arguments.sessions, arguments.profile_runs),
        against=[parse_against(text) for text in arguments.against],
        scale=arguments.scale,
        rows=arguments.rows,
        opset=arguments.opset,
        spinning=not arguments.no_spinning,
        time_different=arguments.time_different,
    )


def _report(lines: list[Line], *, slowest: bool) -> str:
    parts = [tables.runtime_table(lines)]
    parts += [f"{line.model} could not be compiled: {line.error}\n" for line in lines if isinstance(line, FailureLine)]
    parts += [
        f"{line.candidate}, batch {line.case.batch}, threads {line.case.threads}: computes something else than level 0, not "
        f"timed: {line.reason}\n"
        for line in lines
        if isinstance(line, LeftOutLine)
    ]
    if slowest:
        parts.append(tables.detail_text(lines))
    parts.append("Geometric means over the models:\n\n" + tables.mean_table(means.over_models(lines)))
    missed = "".join(f"- {text}\n" for text in targets.shortfalls(lines))
    fine = "No target is missed.\n" if targets.judged(lines) else "Nothing was measured that a target judges.\n"
    parts.append(f"Short of the targets:\n\n{missed}" if missed else fine)
    return "\n".join(parts)


def _write(folder: Path, lines: list[Line], entries: list[dict[str, object]]) -> None:
    records.write_text(folder / "runtime.jsonl", records.dump(entries))
    about = tables.machine_text(entries[0])
    records.write_text(folder / "report.md", f"# Latency\n\n{about}\n{_report(lines, slowest=True)}")
    measured = [line for line in lines if isinstance(line, CandidateLine)]
    if measured:
        floors = [line for line in lines if isinstance(line, FloorLine)]
        plots.draw(folder, measured, floors, machine.caption(entries[0]))


def _compare(before: list[dict[str, object]], after: list[dict[str, object]], tolerance: float) -> int:
    changes = baseline.compare(before, after)
    slower = baseline.slower_ones(changes, tolerance)
    print(f"{len(changes)} cases compared with the baseline, {len(slower)} slower by more than {tolerance:.0%}.")
    for change in slower:
        print(f"slower: {change}")
    return 1 if slower else 0


def _progress(text: str) -> None:
    print(text, file=sys.stderr, flush=True)
