"""Markdown."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from benchmarks.markdown import markdown
from benchmarks.records import CandidateLine, Case, FloorLine, Line, MeanLine

SHOWN_OPS = 4
MIB = 1 << 20
RUNTIME_HEADER = ("model", "batch", "threads", "candidate", "nodes", "run", "median µs", "p99 µs", "x level 0",
                  "spread", "x floor", "µs above", "difference", "time by operator")  # fmt: skip


def runtime_table(lines: Sequence[Line]) -> str:
    """A row for each candidate of each case, the floor last."""
    rows: list[tuple[str, ...]] = []
    for floor in (line for line in lines if isinstance(line, FloorLine)):
        mine = [line for line in lines if isinstance(line, CandidateLine) and line.case == floor.case]
        rows += [_candidate_row(line) for line in mine]
        rows.append((*_case(floor.case), "floor", "", "", micro(floor.median_us), "", "", "", "1.00", "0", "", ""))
    return markdown(RUNTIME_HEADER, rows)


def detail_text(lines: Sequence[Line]) -> str:
    """For each case the parts of its floor and, for each candidate, the nodes that take longest."""
    paragraphs = []
    for line in lines:
        if isinstance(line, FloorLine):
            title = f"floor, {line.weight_bytes / MIB:.1f} MiB of weights"
            parts = [f"{each:9.1f} µs x {count}  {name}" for name, count, each in line.parts]
            parts += [f"not counted: {', '.join(line.uncounted)}"] if line.uncounted else []
            paragraphs.append(_listing(line.case, title, [f"{line.call_us:9.1f} µs      empty call", *parts]))
        elif isinstance(line, CandidateLine) and line.slowest:
            nodes = [f"{time:9.1f} µs  {op}  {node}" for node, op, time in line.slowest]
            paragraphs.append(_listing(line.case, line.candidate, nodes))
    return "\n".join(paragraphs)


def _listing(case: Case, what: str, rows: Sequence[str]) -> str:
    title = f"{case.model}, batch {case.batch}, threads {case.threads}, {what}:"
    return f"{title}\n\n" + "".join(f"    {row}\n" for row in rows)


def mean_table(means: Sequence[MeanLine]) -> str:
    """Geometric means over the models: a row for each candidate and thread count, a column for each batch."""
    batches = sorted({mean.batch for mean in means})
    keys = list(dict.fromkeys((mean.candidate, mean.threads) for mean in means))
    found = {(mean.candidate, mean.threads, mean.batch): mean for mean in means}
    rows = []
    for candidate, threads in keys:
        cells = [found.get((candidate, threads, batch)) for batch in batches]
        models = max(cell.models for cell in cells if cell)
        rows.append([candidate, str(threads), str(models), *(f"{cell.ratio:.2f}" if cell else "" for cell in cells)])
    return markdown(("x level 0", "threads", "models", *(f"batch {batch}" for batch in batches)), rows)


def machine_text(machine: Mapping[str, Any]) -> str:
    """One paragraph on what it ran on."""
    versions = ", ".join(f"{name} {number}" for name, number in machine["versions"].items() if number)
    chosen = ", ".join(f"{name}: {value}" for name, value in machine["settings"].items())
    return (
        f"{machine['cpu']}, {machine['cores']} cores, {machine['system']} {machine['architecture']}, Python "
        f"{machine['python']}, {versions}. Sessions: {chosen}. Load when it began: {machine['load']}.\n"
    )


def micro(microseconds: float | None) -> str:
    """About three digits."""
    if microseconds is None:
        return ""
    return f"{microseconds:,.0f}" if abs(microseconds) >= 100 else f"{microseconds:.1f}"


def _candidate_row(line: CandidateLine) -> tuple[str, ...]:
    return (
        *_case(line.case),
        line.candidate,
        str(line.nodes),
        str(line.executed or ""),
        micro(line.median_us),
        micro(line.p99_us),
        f"{line.ratio.median:.2f}",
        f"{line.ratio.low:.2f}-{line.ratio.high:.2f}",
        f"{line.of_floor.median:.2f}",
        micro(line.above_floor_us),
        "" if line.difference is None else f"{line.difference:.1e}",
        ", ".join(f"{op} {share:.0%}" for op, share in list(line.ops.items())[:SHOWN_OPS]),
    )


def _case(case: Case) -> tuple[str, str, str]:
    return case.model, str(case.batch), str(case.threads)
