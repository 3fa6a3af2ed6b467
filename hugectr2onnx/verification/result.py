"""The result of `verify`, as data."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field, fields, replace
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from hugectr2onnx.backend.runtime.parity import Parity
from hugectr2onnx.errors import ParityError
from hugectr2onnx.verification.table_comparison import TableComparison

OptionsFrom = Literal["the caller", "the file", "the defaults"]


@dataclass(frozen=True)
class RecordedComparison:
    """Answers against predictions that HugeCTR made: the largest difference over the tolerance there, how many exceed it.

    `rows` are the first samples with an element that exceeds it, `all_rows` all of them.
    """

    output: str
    answers_of: str
    max_error: float
    tolerance: float
    exceeding: int
    elements: int
    rows: tuple[int, ...] = ()
    all_rows: NDArray[Any] = field(default_factory=lambda: np.empty(0, np.int64), repr=False, compare=False)

    @property
    def passed(self) -> bool:
        return self.exceeding == 0

    def to_dict(self) -> dict[str, Any]:
        """Return everything but the whole list of rows."""
        return {each.name: getattr(self, each.name) for each in fields(self) if each.name != "all_rows"}


@dataclass(frozen=True)
class TensorDifference:
    """A constant of the file that is not the one that compiling the source again gives."""

    tensor: str
    max_error: float
    elements: int
    largest: float
    """The largest number that belongs there, by its size."""


@dataclass(frozen=True)
class Recompilation:
    """The result of compiling the source again with the options that the file records: whether it gives the same file.

    `identical`: every operator and every constant but tables is the same, bit for bit; tables are compared as a whole
    elsewhere. Otherwise `differences` names the constants, or `reason` says why nothing can be said.
    """

    identical: bool
    tensors: int = 0
    differences: tuple[TensorDifference, ...] = ()
    reason: str = ""


@dataclass(frozen=True)
class Coverage:
    """The extent of a comparison: rows and keys of tables, dense weights, layers, hidden units that were ever not zero."""

    tables: int = 0
    rows: int = 0
    keys: int = 0
    weights: int = 0
    layers: int = 0
    hidden_units: int = 0
    active_units: int = 0


@dataclass(frozen=True)
class Verification:
    """A file against its source: on generated feeds, table by table, tensor by tensor, and with recorded predictions.

    `problems` says what differs, a sentence each; `notes` what was found out beside that: what rows that differ have in
    common, causes that were tried, what was not compared.
    """

    path: str
    parity: Parity
    comparisons: tuple[RecordedComparison, ...] = ()
    rows: int = 0
    warnings: tuple[str, ...] = ()
    tables: tuple[TableComparison, ...] = ()
    identity: Recompilation | None = None
    coverage: Coverage = Coverage()
    options_from: OptionsFrom = "the caller"
    problems: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()

    @property
    def passed(self) -> bool:
        return not self.problems

    def to_dict(self) -> dict[str, Any]:
        """Return everything, as JSON-ready data."""
        plain = asdict(replace(self, comparisons=()))
        return {"passed": self.passed, **plain, "comparisons": [each.to_dict() for each in self.comparisons]}


class FileDiffersError(ParityError):
    """A file differs from its source; `verification` has everything that was compared."""

    max_text = 20_000
    """Each thing that differs has a line."""

    def __init__(self, verification: Verification):
        head = f"{verification.path}: differs from its source"
        super().__init__("\n  ".join([head, *verification.problems, *verification.notes]))
        self.verification = verification
