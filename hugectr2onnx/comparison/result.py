"""The result of `compare`, as data and as a table for a notebook."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from html import escape
from typing import Any, Literal

Verdict = Literal["same", "differs", "not compared"]
TENSOR_COLUMNS = (
    "tensor",
    "layer",
    "shape",
    "max error",
    "mean error",
    "relative",
    "cosine",
    "out",
    "NaN",
    "Inf",
    "verdict",
)
"""The heads of the table; `out` is the share of elements out of tolerance, `relative` the error by the largest number."""


@dataclass(frozen=True)
class TensorComparison:
    """One tensor of both sides: B against A.

    `relative_error` is the largest error divided by the largest number of A; `share` that of the elements out of tolerance;
    `nan` and `inf` count elements of either side. `reason` says why a tensor was not compared.
    """

    name: str
    layer: str
    type: str
    shape: tuple[int, ...] = ()
    max_error: float | None = None
    mean_error: float | None = None
    relative_error: float | None = None
    cosine: float | None = None
    share: float | None = None
    nan: int = 0
    inf: int = 0
    verdict: Verdict = "not compared"
    reason: str = ""

    @property
    def cells(self) -> tuple[str, ...]:
        """The row of the table, under TENSOR_COLUMNS."""
        numbers = (self.max_error, self.mean_error, self.relative_error)
        shown = ["-" if number is None else f"{number:.3g}" for number in numbers]
        cosine = "-" if self.cosine is None else f"{self.cosine:.6f}"
        share = "-" if self.share is None else f"{self.share:.1%}"
        verdict = f"{self.verdict}: {self.reason}" if self.reason else self.verdict
        shape = "x".join(map(str, self.shape)) or "-"
        return (self.name, self.layer, shape, *shown, cosine, share, str(self.nan), str(self.inf), verdict)


@dataclass(frozen=True)
class FirstDifference:
    """The first layer whose inputs agree and whose output does not.

    `stretch` are the layers between the tensors that could be compared, where there are several; `tensor` is the one that
    departs, or the constant that differs though no input reaches it.
    """

    layer: str
    tensor: str
    cause: str | None
    stretch: tuple[str, ...] = ()

    @property
    def text(self) -> str:
        between = f" (one of {', '.join(self.stretch)})" if len(self.stretch) > 1 else ""
        return f"first difference: layer {self.layer}{between}, tensor {self.tensor}: {self.cause or 'cause unknown'}"


@dataclass(frozen=True)
class ModelComparison:
    """Two sides compared on `rows` samples: a row for each tensor in the order of the layers, and where they part first."""

    a: str
    b: str
    rows: int
    feeds: str
    tensors: tuple[TensorComparison, ...]
    first: FirstDifference | None = None
    notes: tuple[str, ...] = ()

    @property
    def passed(self) -> bool:
        return self.first is None

    @property
    def summary(self) -> str:
        compared = sum(each.verdict != "not compared" for each in self.tensors)
        verdict = "the same" if self.passed else "different"
        return f"{self.a} and {self.b}: {verdict}; {compared} of {len(self.tensors)} tensors compared on {self.rows} samples"

    def to_dict(self) -> dict[str, Any]:
        """Return everything, as JSON-ready data."""
        plain = asdict(self)
        return {"passed": self.passed, **plain}

    def _repr_html_(self) -> str:
        return self.head_html() + self.table_html() + self.notes_html()

    def head_html(self) -> str:
        """Return the summary, and the first difference."""
        found = f'<p class="bad"><strong>{escape(self.first.text)}</strong></p>' if self.first is not None else ""
        return f"<p>{escape(self.summary)}; inputs: {escape(self.feeds)}</p>{found}"

    def table_html(self) -> str:
        """Return the table, a class for each verdict."""
        head = "".join(f'<th scope="col">{name}</th>' for name in TENSOR_COLUMNS)
        rows = (
            f'<tr class="{each.verdict.replace(" ", "-")}">'
            + "".join(f"<td>{escape(cell)}</td>" for cell in each.cells)
            + "</tr>"
            for each in self.tensors
        )
        return f"<table><thead><tr>{head}</tr></thead><tbody>{''.join(rows)}</tbody></table>"

    def notes_html(self) -> str:
        """Return the notes, as a list."""
        return "<ul>" + "".join(f"<li>{escape(note)}</li>" for note in self.notes) + "</ul>" if self.notes else ""
