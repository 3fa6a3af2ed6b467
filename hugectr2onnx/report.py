"""The report of a compilation: stages, passes, parity, warnings. Plain data, ready for JSON."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from html import escape
from typing import Any

from hugectr2onnx.backend.runtime.parity import Parity
from hugectr2onnx.backend.runtime.portability import RunsOn
from hugectr2onnx.backend.runtime.quantized_parity import FormatCost
from hugectr2onnx.options import Progress
from hugectr2onnx.passes import PassRun
from hugectr2onnx.passes.lookups.strategies import Choice
from hugectr2onnx.passes.precision.quantize_products import ProductPrecision
from hugectr2onnx.quantization.metrics import Trial
from hugectr2onnx.quantization.stored_tables import TableStorage

SESSION_SETTINGS = {
    "execution_mode": "ORT_SEQUENTIAL",
    "inter_op_num_threads": "1",
    "intra_op_num_threads": "1 up to batches of about 16, the physical cores above",
    "session.intra_op.allow_spinning": "0 where other work shares the cores, else 1",
}
"""What onnxruntime should be told, by the benchmark: the graphs are chains, so branches in parallel gain nothing."""

STAGES = ("read", "import", "reference", "passes", "emit", "simplify", "parity")


@dataclass(frozen=True)
class Stage:
    """One stage: how long it took and the peak memory of the process at its end (None where the system cannot tell)."""

    name: str
    seconds: float
    peak_bytes: int | None


@dataclass(repr=False)
class Report:
    """`hugectr2onnx.compile`'s account of itself; `to_dict` gives it as JSON-ready data."""

    opt_level: int
    stages: list[Stage] = field(default_factory=list)
    ops_before: int = 0
    ops_after: int = 0
    onnx_nodes: int = 0
    passes: tuple[PassRun, ...] = ()
    key_maps: tuple[Choice, ...] = ()
    """How the keys of each look-up find their rows, and why; none where that is the plain LabelEncoder of level 0."""
    simplify: str = "not asked for"
    parity: Parity | None = None
    warnings: list[str] = field(default_factory=list)
    recovered: list[str] = field(default_factory=list)
    dense_floats: int = 0
    layers: int = 0
    sources: dict[str, int] = field(default_factory=dict)
    """Bytes by file: the graph JSON, the dense file, the files of the tables."""
    tables: dict[str, int] = field(default_factory=dict)
    """Rows by embedding top."""
    stored: tuple[TableStorage, ...] = ()
    """The format of each table's rows, its bytes before and after, its errors, the rows that keep_keys dropped."""
    runs_on: tuple[RunsOn, ...] = ()
    """Which runtimes can take the file as it stands."""
    products: tuple[ProductPrecision, ...] = ()
    """How each product is computed, and why; none where all are float32 and nothing else was asked for."""
    format_costs: tuple[FormatCost, ...] = ()
    """How far products of bytes move each output from the reference that rounds nothing, on the generated feeds."""
    saturates: bool | None = None
    """Whether this machine's processor cuts sums of products of bytes to 16 bits; None where no product is one of bytes."""
    trials: tuple[Trial, ...] = ()
    """AUC and log-loss on labelled samples by choice of formats, float32 first; none without samples."""

    @property
    def fires(self) -> dict[str, int]:
        """How often each rule fired."""
        totals: dict[str, int] = {}
        for run in self.passes:
            for rule, count in run.fires.items():
                totals[rule] = totals.get(rule, 0) + count
        return totals

    @property
    def seconds(self) -> float:
        return sum(stage.seconds for stage in self.stages)

    def __repr__(self) -> str:
        return f"<Report: {', '.join(f'{name} {value}' for name, value in self.summary.items())}>"

    def _repr_html_(self) -> str:
        """Return the summary, the tables and the warnings, for a notebook."""
        tables = [(each.table, each.rows, each.width, each.format, each.bytes_after) for each in self.stored]
        return "".join(
            [
                html_table(("compiled", ""), list(self.summary.items())),
                html_table(("embedding", "rows", "width", "rows as", "bytes"), tables) if tables else "",
                *(f"<p><b>warning</b>: {escape(text)}</p>" for text in self.warnings),
            ]
        )

    @property
    def summary(self) -> dict[str, str]:
        """The few facts that a reader looks for first."""
        worst = max((each.max_error for each in self.parity.outputs), default=0.0) if self.parity else None
        return {
            "level": str(self.opt_level),
            "operations": f"{self.ops_before} -> {self.ops_after}",
            "nodes": str(self.onnx_nodes),
            "parity": "not checked" if worst is None else f"passed (largest error {worst:.2g})",
            "warnings": str(len(self.warnings)),
            "seconds": f"{self.seconds:.2f}",
        }

    def to_dict(self) -> dict[str, Any]:
        """Return everything, as JSON-ready data."""
        plain = {**vars(self), "passes": [_plain(run) for run in self.passes], "fires": self.fires}
        plain["stages"] = [asdict(stage) for stage in self.stages]
        plain["key_maps"] = [asdict(choice) for choice in self.key_maps]
        plain["runs_on"] = [asdict(each) for each in self.runs_on]
        plain["products"] = [asdict(product) for product in self.products]
        plain["format_costs"] = [asdict(each) for each in self.format_costs]
        plain["stored"] = [asdict(table) for table in self.stored]
        plain["trials"] = [trial.to_dict() for trial in self.trials]
        plain["parity"] = asdict(self.parity) if self.parity else None
        plain["session_settings"] = SESSION_SETTINGS
        return plain

    @contextmanager
    def stage(self, name: str, progress: Progress | None) -> Iterator[None]:
        """Time a stage, tell the caller that it begins."""
        if progress is not None:
            progress(name, STAGES.index(name) / len(STAGES))
        start = time.perf_counter()
        yield
        self.stages.append(Stage(name, time.perf_counter() - start, peak_memory()))


def html_table(columns: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    """Return an HTML table; names come from files, and are escaped."""
    head = "".join(f"<th>{escape(name)}</th>" for name in columns)
    lines = ("".join(f"<td>{escape(str(value))}</td>" for value in row) for row in rows)
    return f"<table><tr>{head}</tr>{''.join(f'<tr>{line}</tr>' for line in lines)}</table>"


def _plain(run: PassRun) -> Mapping[str, Any]:
    return {**asdict(run), "fires": dict(run.fires)}


def peak_memory() -> int | None:
    """Return the largest resident size of this process so far, in bytes."""
    try:
        import resource
    except ImportError:
        return None
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024
