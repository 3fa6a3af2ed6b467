"""Predictions beside those that HugeCTR recorded: of `check_out_tensor`, `export_predictions`, or any file of them."""

from __future__ import annotations

import heapq
import os
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from hugectr2onnx.datasets.arrow_columns import pyarrow
from hugectr2onnx.datasets.recorded_predictions import ATOL, RECORDED_RTOL, load_arrays
from hugectr2onnx.datasets.schema import LabelColumns
from hugectr2onnx.errors import FeedError
from hugectr2onnx.ir.types import Array
from hugectr2onnx.scoring.differences import DifferenceCounter, Differences
from hugectr2onnx.scoring.prediction_files import PREDICTION, prediction_names
from hugectr2onnx.tables.npy_file import read_npy
from hugectr2onnx.tables.regular_file import open_regular, read_regular

HALF_ERROR = 5e-3
"""Rounding activations to half moves predictions by about 1e-3; several layers of it by a few times that."""
MAX_WORST = 10
MAX_TEXT_BYTES = 1 << 30


@dataclass(frozen=True)
class Recorded:
    """Predictions that were recorded, by output; `rows` of them, from the first sample on."""

    path: str
    arrays: Mapping[str, Array]
    rows: int


def read_recorded(path: str | os.PathLike[str], labels: Sequence[LabelColumns]) -> Recorded:
    """Recorded predictions from .npy, .npz, Parquet or text, flat or by label.

    A flat file holds the columns of all labels, sample by sample. Raises FeedError for a file that is none of these or
    whose numbers do not make whole rows.
    """
    file = Path(path)
    with open_regular(file, FeedError, "the predictions that were recorded") as opened:
        magic = opened.read(8)
    arrays = _read(file, magic, labels)
    by_label = _by_label(arrays, labels, str(file)) if isinstance(arrays, dict) else _split(arrays, labels, str(file))
    rows = {len(array) for array in by_label.values()}
    if len(rows) > 1:
        raise FeedError(f"{file}: its labels have {sorted(rows)} rows; all need as many")
    return Recorded(str(file), by_label, rows.pop())


def _read(file: Path, magic: bytes, labels: Sequence[LabelColumns]) -> Array | dict[str, Array]:
    try:
        if magic.startswith(b"PAR1"):
            return _parquet(file, labels)
        if magic.startswith(b"PK\x03\x04"):
            return load_arrays(str(file))
        if magic.startswith(b"\x93NUMPY"):
            return read_npy(file, FeedError, "the recorded predictions")
        text = read_regular(file, FeedError, "numbers as text", max_bytes=MAX_TEXT_BYTES).decode("utf-8-sig")
        if _has_names(text):
            return _csv(file, labels)
        return np.asarray(text.replace(",", " ").split(), np.float32)
    except FeedError:
        raise
    except Exception as error:
        # numpy, zipfile and pyarrow raise many kinds of error for files that are damaged.
        raise FeedError(
            f"{file}: is not a file of predictions (.npy, .npz, Parquet, or numbers as text): {str(error)[:200]}"
        ) from error


def _parquet(file: Path, labels: Sequence[LabelColumns]) -> dict[str, Array]:
    import pyarrow.parquet as pq

    chosen = _chosen(file, pq.read_schema(file).names, labels)
    table = pq.read_table(file, columns=chosen)
    return {name: _column(table.column(name)) for name in chosen}


def _has_names(text: str) -> bool:
    """Tell whether the first line holds names, as that of a CSV file does, and not numbers."""
    first = next(iter(text[:4096].replace(",", " ").splitlines()), "").split()
    return any(not _is_number(word) for word in first)


def _is_number(word: str) -> bool:
    try:
        float(word)
    except ValueError:
        return False
    return True


def _csv(file: Path, labels: Sequence[LabelColumns]) -> dict[str, Array]:
    pyarrow()
    from pyarrow import csv

    table = csv.read_csv(file)
    chosen = _chosen(file, table.column_names, labels)
    return {name: _column(table.column(name)) for name in chosen}


def _chosen(file: Path, names: Sequence[str], labels: Sequence[LabelColumns]) -> list[str]:
    """Return the columns of predictions in a table; one column alone is one, whatever its name."""
    known = prediction_names([label.name for label in labels])
    wanted = [name for name in names if name in known.values() or name in known]
    if not wanted and len(names) == len(labels) == 1:
        return list(names)
    if not wanted:
        raise FeedError(f"{file}: has none of the columns {', '.join(known.values())}")
    # Columns of predictions are preferred: the same file may hold the labels under the outputs' names.
    return [name for name in wanted if name in known.values()] or wanted


def _column(column: Any) -> Array:
    merged = column.combine_chunks()
    if pyarrow().types.is_fixed_size_list(merged.type) or pyarrow().types.is_list(merged.type):
        values: Array = merged.flatten().to_numpy(zero_copy_only=False)
        return values.reshape(len(merged), -1)
    plain: Array = merged.to_numpy(zero_copy_only=False)
    return plain


def _by_label(arrays: Mapping[str, Array], labels: Sequence[LabelColumns], where: str) -> dict[str, Array]:
    names = prediction_names([label.name for label in labels])
    found = {}
    for label in labels:
        given = next((arrays[name] for name in (names[label.name], label.name, PREDICTION) if name in arrays), None)
        if given is None and len(arrays) == len(labels) == 1:
            given = next(iter(arrays.values()))
        if given is not None:
            found[label.name] = _rows_of(given, label.columns, f"{where}: {label.name}")
    if not found:
        raise FeedError(f"{where}: holds {', '.join(arrays)}; expected {', '.join(names.values())}")
    return found


def _split(array: Array, labels: Sequence[LabelColumns], where: str) -> dict[str, Array]:
    """Return the columns of all labels, sample by sample, as HugeCTR lays them out."""
    columns = _rows_of(array, sum(label.columns for label in labels), where)
    found, at = {}, 0
    for label in labels:
        found[label.name] = columns[:, at : at + label.columns]
        at += label.columns
    return found


def _rows_of(array: Array, columns: int, where: str) -> Array:
    if array.dtype.kind not in "fiub":
        raise FeedError(f"{where} is {array.dtype}; predictions are numbers")
    if not array.size or array.size % columns:
        raise FeedError(f"{where} holds {array.size} numbers, which are not whole rows of {columns}")
    return array.reshape(-1, columns)


@dataclass(frozen=True)
class Row:
    """One of the rows that differ most."""

    row: int
    output: str
    prediction: float
    recorded: float


@dataclass(frozen=True)
class PredictionComparison:
    """Predictions beside recorded ones: `passed` where every one is within `atol + rtol * |recorded|`."""

    path: str
    rows: int
    elements: int
    exceeding: int
    max_error: float
    mean_error: float
    mean_difference: float
    passed: bool
    looks_like_half: bool
    worst: tuple[Row, ...]
    verdict: str
    differences: tuple[Differences, ...] = ()
    """By output: a histogram of the absolute differences, and pairs to plot."""

    def to_dict(self) -> dict[str, Any]:
        return asdict(self)


@dataclass
class Comparer:
    """Takes predictions batch by batch, from the first sample on."""

    recorded: Recorded
    rtol: float = RECORDED_RTOL
    atol: float = ATOL
    is_limited: bool = False
    """Whether only the first samples of the data set are predicted: further rows of the recording are then no difference."""
    rows: int = 0
    elements: int = 0
    exceeding: int = 0
    max_error: float = 0.0
    error_sum: float = 0.0
    difference_sum: float = 0.0
    _worst: list[tuple[float, int, str, float, float]] = field(default_factory=list)
    _differences: dict[str, DifferenceCounter] = field(default_factory=dict)

    def add(self, predictions: Mapping[str, Array]) -> None:
        """Compare one batch; samples behind the last recorded one are not compared."""
        count = len(next(iter(predictions.values())))
        take = min(count, self.recorded.rows - self.rows)
        if take > 0:
            for name, wanted in self.recorded.arrays.items():
                part = wanted[self.rows : self.rows + take].astype(np.float64)
                self._compare(name, predictions[name][:take].reshape(take, -1).astype(np.float64), part)
        self.rows += max(take, 0)

    def _compare(self, name: str, found: Array, wanted: Array) -> None:
        with np.errstate(all="ignore"):
            difference = found - wanted
            error = np.abs(difference)
        error[(found == wanted) | (np.isnan(found) & np.isnan(wanted))] = 0.0
        error[np.isnan(error)] = np.inf
        allowed = self.atol + self.rtol * np.abs(np.where(np.isfinite(wanted), wanted, 0.0))
        self.elements += error.size
        self.exceeding += int((error > allowed).sum())
        self.max_error = max(self.max_error, float(error.max(initial=0.0)))
        self._differences.setdefault(name, DifferenceCounter(name)).add(found, wanted, error)
        finite = np.isfinite(difference)
        self.error_sum += float(error[finite].sum())
        self.difference_sum += float(difference[finite].sum())
        by_row = error.max(axis=1)
        for row in np.argsort(by_row)[-MAX_WORST:]:
            if by_row[row] > 0:
                column = int(np.argmax(error[row]))
                item = (
                    float(by_row[row]),
                    self.rows + int(row),
                    name,
                    float(found[row, column]),
                    float(wanted[row, column]),
                )
                heapq.heappush(self._worst, item)
                if len(self._worst) > MAX_WORST:
                    heapq.heappop(self._worst)

    def result(self) -> PredictionComparison:
        """Return the verdict. Raises FeedError where no row was compared."""
        if not self.elements:
            raise FeedError(f"{self.recorded.path}: no row was compared: the data set is empty")
        passed = self.exceeding == 0 and not self._is_short
        mean = self.error_sum / self.elements
        half = not passed and self.max_error <= HALF_ERROR and abs(self.difference_sum) < 0.5 * self.error_sum
        worst = tuple(Row(row, name, p, r) for _, row, name, p, r in sorted(self._worst, reverse=True))
        return PredictionComparison(
            self.recorded.path,
            self.rows,
            self.elements,
            self.exceeding,
            self.max_error,
            mean,
            self.difference_sum / self.elements,
            passed,
            half,
            worst,
            self._verdict(passed, half),
            tuple(each.result() for each in self._differences.values()),
        )

    @property
    def _is_short(self) -> bool:
        return self.rows < self.recorded.rows and not self.is_limited

    def _verdict(self, passed: bool, half: bool) -> str:
        if self._is_short:
            return f"{self.recorded.rows} rows were recorded and the data set has {self.rows}: it is another data set"
        if passed:
            return f"all {self.elements:,} predictions agree, by {self.max_error:.2g} at most"
        text = f"{self.exceeding:,} of {self.elements:,} predictions differ, by {self.max_error:.3g} at most"
        if half:
            return f"{text}: as much as mixed precision makes them (HugeCTR then rounds activations to half)"
        return (
            f"{text}: check the data set, its offsets (slot_size_array), its dense values and the snapshot's iteration"
        )
