"""The report of a dry run: plain data, ready for JSON."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from hugectr2onnx.backend.runtime.portability import RunsOn
from hugectr2onnx.errors import HugeCTR2ONNXError
from hugectr2onnx.frontend.graph_json.clauses import EmbeddingClause, SparseInput

if TYPE_CHECKING:
    from hugectr2onnx.checking.forecast import Forecast
    from hugectr2onnx.ir.types import Tensor

FLOAT_BYTES = 4
KEY_BYTES = 8

Status = Literal["ok", "wrong", "not reached"]


@dataclass(frozen=True)
class Problem:
    """One thing that is wrong: the error's kind, its exit code, the whole message, and the error itself."""

    kind: str
    exit_code: int
    message: str
    error: HugeCTR2ONNXError = field(compare=False, repr=False)

    @classmethod
    def of(cls, error: HugeCTR2ONNXError) -> Problem:
        return cls(type(error).__name__, error.exit_code, error.describe(), error)

    def to_dict(self) -> dict[str, Any]:
        """JSON-ready data."""
        return {"kind": self.kind, "exit_code": self.exit_code, "message": self.message}


@dataclass(frozen=True)
class LayerCheck:
    """A dense layer: `offset` and bytes are those of its weights in the dense file, None where they cannot be known.

    `status` is "wrong" where the layer itself has a problem, "not reached" where a layer that it depends on has one.
    """

    index: int
    type: str
    bottoms: tuple[str, ...]
    tops: tuple[str, ...]
    status: Status = "not reached"
    shapes: tuple[str, ...] = ()
    weights: Mapping[str, tuple[int, ...]] = field(default_factory=dict)
    expected_bytes: int | None = None
    offset: int | None = None
    found_bytes: int | None = None

    @property
    def where(self) -> str:
        return f"layers[{self.index}] {self.type} {', '.join(self.bottoms)} -> {', '.join(self.tops)}"


@dataclass(frozen=True)
class DenseCheck:
    """The dense file: `expected_bytes` is a lower bound unless all layers could be counted."""

    path: str | None
    expected_bytes: int
    found_bytes: int | None
    is_complete: bool


@dataclass(frozen=True)
class TableCheck:
    """The table of an embedding layer; `path` and what follows are None where none was given or none is needed.

    `expected_bytes` are those of the vectors of `rows` keys, `found_bytes` those of the file that holds them. `index` is
    None for a table of an EmbeddingCollection, whose `bottom` and `top` are those of all look-ups that read it.
    """

    index: int | None
    type: str
    bottom: str
    top: str
    slots: int
    max_nnz: int
    vec_size: int
    combiner: str
    is_needed: bool
    path: str | None = None
    rows: int | None = None
    smallest_key: int | None = None
    largest_key: int | None = None
    has_slot_ids: bool | None = None
    expected_bytes: int | None = None
    found_bytes: int | None = None

    @classmethod
    def of(cls, clause: EmbeddingClause, source: SparseInput, is_needed: bool) -> TableCheck:
        """Tell what the graph says about a table."""
        return cls(
            index=clause.index,
            type=clause.type,
            bottom=clause.bottom,
            top=clause.top,
            slots=source.slot_num,
            max_nnz=source.max_nnz,
            vec_size=clause.vec_size,
            combiner=clause.combiner,
            is_needed=is_needed,
        )

    def measured(self, path: Path) -> TableCheck:
        """With the rows, expected and found bytes of a table folder, by the sizes of its files alone."""
        known = replace(self, path=str(path))
        try:
            keys, found = (path / "key").stat().st_size, (path / "emb_vector").stat().st_size
        except (OSError, ValueError):
            return known
        rows = keys // KEY_BYTES
        return replace(known, rows=rows, expected_bytes=FLOAT_BYTES * self.vec_size * rows, found_bytes=found)


@dataclass(frozen=True)
class StatisticsCheck:
    """The ntp file: features of each BatchNorm layer by its top (None where unknown), and the entries that were found."""

    path: str | None
    layers: Mapping[str, int | None]
    found: int | None


@dataclass(frozen=True)
class CheckReport:
    """Everything about a model that can be told without compiling it."""

    layers: tuple[LayerCheck, ...] = ()
    dense: DenseCheck | None = None
    tables: tuple[TableCheck, ...] = ()
    statistics: StatisticsCheck | None = None
    inputs: tuple[Tensor, ...] = ()
    outputs: tuple[Tensor, ...] = ()
    problems: tuple[Problem, ...] = ()
    warnings: tuple[str, ...] = ()
    recovered: tuple[str, ...] = ()
    forecast: Forecast | None = None
    """What compiling will take; None without weights, and where anything else is wrong."""
    runs_on: tuple[RunsOn, ...] = ()
    """Which runtimes will be able to take the file; empty where there is no forecast."""

    @property
    def ok(self) -> bool:
        return not self.problems

    @property
    def exit_code(self) -> int:
        """0, or that of the worst problem: unsupported (4) is worse than invalid (3)."""
        return max((problem.exit_code for problem in self.problems), default=0)

    def to_dict(self) -> dict[str, Any]:
        """Return everything, as JSON-ready data."""
        problems = [problem.to_dict() for problem in self.problems]
        plain = {"ok": self.ok, "exit_code": self.exit_code, **asdict(replace(self, problems=())), "problems": problems}
        if self.forecast is not None:
            plain["forecast"]["output_bytes"] = self.forecast.output_bytes
        return plain


def place_layers(layers: Sequence[LayerCheck], found_bytes: int | None) -> tuple[LayerCheck, ...]:
    """Return the layers with their place in a dense file of so many bytes; nothing is known behind a layer of unknown size."""
    placed = []
    offset: int | None = 0
    for layer in layers:
        size = layer.expected_bytes
        found = None
        if offset is not None and size is not None and found_bytes is not None:
            found = min(max(found_bytes - offset, 0), size)
        placed.append(replace(layer, offset=offset if size is not None else None, found_bytes=found))
        offset = offset + size if offset is not None and size is not None else None
    return tuple(placed)
