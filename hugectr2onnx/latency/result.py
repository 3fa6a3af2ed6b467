"""The result of `bench`, as data and as a table for a notebook."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from html import escape
from typing import Any

from hugectr2onnx.latency.answers import OutputDifference, all_same
from hugectr2onnx.latency.figures import Ratio

_COLUMNS = (
    "file",
    "batch",
    "threads",
    "median µs",
    "p99 µs",
    "samples/s",
    "speed",
    "spread",
    "x floor",
    "time by operator",
)
"""The heads of the table; `speed` is the first file's time by this one's: above 1 is faster than the first."""
NUMBER_COLUMNS = ("batch", "threads", "median µs", "p99 µs", "samples/s", "speed", "spread", "x floor")
"""The columns that hold numbers."""
SHOWN_OPERATORS = 4


@dataclass(frozen=True)
class BenchedFile:
    """One file: `differences` are those of its outputs from the first file's, `timed` is whether it was measured."""

    name: str
    bytes: int
    nodes: int
    differences: tuple[OutputDifference, ...] = ()
    timed: bool = True

    @property
    def same(self) -> bool:
        """Whether it computes what the first file does."""
        return all_same(self.differences)


@dataclass(frozen=True)
class FileLatency:
    """One file at a batch with some threads, in microseconds of a call.

    `speed` is the median over the rounds of the first file's time by this one's, with its quartiles; `of_floor` the same of
    this one's by the floor. `p99_us` is None below 1,000 calls. `operators` are shares of the time by operator, `executed`
    the nodes that onnxruntime runs after its own fusions, `slowest` (node, operator, microseconds).
    """

    file: str
    batch: int
    threads: int
    calls: int
    median_us: float
    fastest_us: float
    p99_us: float | None
    samples_per_second: float
    speed: Ratio
    of_floor: Ratio | None = None
    executed: int | None = None
    operators: Mapping[str, float] = field(default_factory=dict)
    slowest: tuple[tuple[str, str, float], ...] = ()

    @property
    def cells(self) -> tuple[str, ...]:
        """The row of the table, under _COLUMNS."""
        shares = list(self.operators.items())[:SHOWN_OPERATORS]
        return (
            self.file,
            str(self.batch),
            str(self.threads),
            micro(self.median_us),
            micro(self.p99_us),
            f"{self.samples_per_second:,.0f}",
            f"{self.speed.median:.2f}",
            f"{self.speed.low:.2f}-{self.speed.high:.2f}",
            f"{self.of_floor.median:.2f}" if self.of_floor else "-",
            ", ".join(f"{name} {share:.0%}" for name, share in shares) or "-",
        )


@dataclass(frozen=True)
class FloorLatency:
    """The time that the first file's products and gathers take alone (see `latency.floor`), in microseconds of a call."""

    batch: int
    threads: int
    median_us: float
    call_us: float
    uncounted: tuple[str, ...] = ()


@dataclass(frozen=True)
class Benchmark:
    """Files measured in turn on the same inputs; `machine` is what they ran on."""

    files: tuple[BenchedFile, ...]
    inputs: str
    timings: tuple[FileLatency, ...]
    floor: tuple[FloorLatency, ...] = ()
    notes: tuple[str, ...] = ()
    machine: Mapping[str, Any] = field(default_factory=dict)

    @property
    def same(self) -> bool:
        """Whether all files compute the same."""
        return all(file.same for file in self.files)

    def timing(self, file: str, batch: int, threads: int) -> FileLatency | None:
        """Return the figures of one file in one case; None where it was not measured."""
        case = (file, batch, threads)
        return next((each for each in self.timings if (each.file, each.batch, each.threads) == case), None)

    @property
    def columns(self) -> tuple[str, ...]:
        """The heads that have something to show."""
        hidden = {"x floor"} if not self.floor else set()
        hidden |= {"speed", "spread"} if len(self.files) == 1 else set()
        hidden |= {"time by operator"} if not any(each.operators for each in self.timings) else set()
        return tuple(name for name in _COLUMNS if name not in hidden)

    @property
    def rows(self) -> list[tuple[str, ...]]:
        """The table under `columns`."""
        places = [_COLUMNS.index(name) for name in self.columns]
        return [tuple(each.cells[place] for place in places) for each in self.timings]

    def to_dict(self) -> dict[str, Any]:
        """Return everything, as JSON-ready data."""
        return {"same": self.same, **asdict(self), "machine": dict(self.machine)}

    def _repr_html_(self) -> str:
        head = "".join(f'<th scope="col">{escape(name)}</th>' for name in self.columns)
        rows = "".join(f"<tr>{''.join(f'<td>{escape(cell)}</td>' for cell in row)}</tr>" for row in self.rows)
        notes = "".join(f"<li>{escape(note)}</li>" for note in self.notes)
        table = f"<table><thead><tr>{head}</tr></thead><tbody>{rows}</tbody></table>"
        return f"<p>{escape(self.inputs)}</p>{table}" + (f"<ul>{notes}</ul>" if notes else "")


def micro(microseconds: float | None) -> str:
    """About three digits; a dash where there is nothing."""
    if microseconds is None:
        return "-"
    return f"{microseconds:,.0f}" if abs(microseconds) >= 100 else f"{microseconds:.1f}"
