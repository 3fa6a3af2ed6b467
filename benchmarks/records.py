"""The lines of the output: what was measured, as data for JSON."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any, ClassVar

from benchmarks.errors import BenchmarkError
from hugectr2onnx.latency.figures import Ratio


@dataclass(frozen=True)
class Case:
    """One case to measure: a model, its size, the batch and the threads."""

    model: str
    scale: str
    batch: int
    threads: int


@dataclass(frozen=True)
class CandidateLine:
    """One candidate in one case. `ratio` is the time of level 0 by its own: above 1 is faster.

    `nodes` are those of the file and `executed` those that onnxruntime runs after its own fusions; `difference` is the
    largest absolute difference of an output from level 0; `ops` are shares of the time, `slowest` microseconds a run.
    """

    kind: ClassVar[str] = "runtime"
    case: Case
    candidate: str
    nodes: int
    executed: int | None
    runs: int
    median_us: float
    fastest_us: float
    p99_us: float | None
    ratio: Ratio
    of_floor: Ratio
    above_floor_us: float
    difference: float | None
    compile_seconds: float | None
    ops: Mapping[str, float] = field(default_factory=dict)
    slowest: list[tuple[str, str, float]] = field(default_factory=list)


@dataclass(frozen=True)
class FloorLine:
    """The floor of one case, an empty call, and what each part takes beyond that.

    `parts` are (what, how often, microseconds each); `uncounted` names operators that may hide further products;
    `weight_bytes` are those of the products: where the cache is smaller, no model comes near its floor at batch 1.
    """

    kind: ClassVar[str] = "floor"
    case: Case
    median_us: float
    call_us: float
    parts: list[tuple[str, int, float]]
    uncounted: tuple[str, ...]
    weight_bytes: int


@dataclass(frozen=True)
class MeanLine:
    """The geometric mean over the models of a candidate's ratio to level 0."""

    kind: ClassVar[str] = "mean"
    candidate: str
    batch: int
    threads: int
    models: int
    ratio: float


@dataclass(frozen=True)
class FailureLine:
    """A model that could not be compiled; the others are measured all the same."""

    kind: ClassVar[str] = "failure"
    model: str
    error: str


@dataclass(frozen=True)
class LeftOutLine:
    """A file that computes something else than level 0 in a case, and was not timed."""

    kind: ClassVar[str] = "left out"
    case: Case
    candidate: str
    reason: str


Line = CandidateLine | FloorLine | MeanLine | FailureLine | LeftOutLine


def to_dict(line: Line) -> dict[str, Any]:
    """Flat, the kind first; figures that are not known are left out."""
    plain = asdict(line)
    plain = {"kind": line.kind, **plain.pop("case", {}), **plain}
    return {key: _rounded(value) for key, value in plain.items() if value is not None}


def _rounded(value: Any) -> Any:
    """Six significant digits: more would be noise."""
    if isinstance(value, float):
        return float(f"{value:.6g}")
    if isinstance(value, Mapping):
        return {key: _rounded(item) for key, item in value.items()}
    return [_rounded(item) for item in value] if isinstance(value, list | tuple) else value


def dump(entries: Iterable[Mapping[str, Any]]) -> str:
    """JSON lines."""
    return "".join(f"{json.dumps(entry)}\n" for entry in entries)


def write_text(path: Path, text: str) -> None:
    """Raises BenchmarkError where the file cannot be written."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
    except OSError as error:
        raise BenchmarkError(
            f"Cannot write {path}: {error.strerror}. Choose a folder that you may write to."
        ) from error


def load(path: Path) -> list[dict[str, Any]]:
    """The entries of a JSON lines file; raises BenchmarkError that names the line which is none."""
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise BenchmarkError(f"Cannot read {path}: {getattr(error, 'strerror', None) or error}.") from error
    entries = []
    for number, line in enumerate(lines, 1):
        try:
            entry = json.loads(line)
        except (ValueError, RecursionError) as error:
            raise BenchmarkError(
                f"{path}, line {number}: not JSON ({error}). Give a file that --json wrote."
            ) from error
        if not isinstance(entry, dict):
            raise BenchmarkError(f"{path}, line {number}: expected an object. Give a file that --json wrote.")
        entries.append(entry)
    return entries


def lines_of(entries: Iterable[Mapping[str, Any]]) -> list[CandidateLine | FloorLine]:
    """The measurements among the entries of a file, as `to_dict` wrote them."""
    lines: list[CandidateLine | FloorLine] = []
    for entry in entries:
        kind = {CandidateLine.kind: CandidateLine, FloorLine.kind: FloorLine}.get(entry["kind"])
        if kind is not None:
            lines.append(_line(kind, entry))
    return lines


def _line(kind: type[CandidateLine] | type[FloorLine], entry: Mapping[str, Any]) -> CandidateLine | FloorLine:
    of_case = {each.name for each in fields(Case)}
    own: dict[str, Any] = {each.name: entry.get(each.name) for each in fields(kind) if each.name != "case"}
    for name in ("ratio", "of_floor"):
        if own.get(name) is not None:
            own[name] = Ratio(**own[name])
    own |= {name: {} for name in ("ops",) if name in own and own[name] is None}
    return kind(case=Case(**{name: entry[name] for name in of_case}), **own)
