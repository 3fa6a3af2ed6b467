"""Measure a model's predictions on samples: AUC and log-loss by labels, and how far they moved; by numpy alone."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, field
from typing import Any, Protocol

import numpy as np

from hugectr2onnx.datasets.dataset import Dataset, open_dataset
from hugectr2onnx.datasets.recorded_predictions import load_arrays
from hugectr2onnx.errors import FeedError
from hugectr2onnx.ir.given_feeds import InputForm, normalize_feeds
from hugectr2onnx.ir.graph import Graph
from hugectr2onnx.ir.types import Array

Formats = str | Mapping[str, str]
_BATCH_ROWS = 8192
SMALLEST = float(np.finfo(np.float32).eps)
"""Predictions nearer to 0 or 1 count as so near: float32 has nothing in between."""


@dataclass(frozen=True)
class UnopenedData:
    """A data set that is opened when there is a model to read it for; `options` are those of `open_dataset`."""

    data: Any
    options: Mapping[str, Any] = field(default_factory=dict)


Samples = str | os.PathLike[str] | Mapping[str, Any] | Dataset | UnopenedData


class Predictor(Protocol):
    """A model that answers: `CompiledModel`, as far as its quality is measured."""

    @property
    def ir(self) -> Graph: ...
    @property
    def artifact(self) -> Any: ...

    def run(self, feeds: Mapping[str, Any]) -> Mapping[str, Array]: ...


@dataclass(frozen=True)
class Quality:
    """Of one label on some samples; nan where it is not defined.

    `auc` needs both labels among the samples, `log_loss` predictions from 0 to 1. The others compare with the predictions of
    the model that rounds nothing: largest and mean change, Spearman's rank correlation, and the change of the mean prediction
    as a share of it (calibration).
    """

    label: str
    samples: int
    positives: int
    auc: float
    log_loss: float
    max_change: float = float("nan")
    mean_change: float = float("nan")
    rank_correlation: float = float("nan")
    calibration_change: float = float("nan")


@dataclass(frozen=True)
class Trial:
    """One choice of formats, what it gives on the samples, and whether the budget allows it.

    `refused` says which table cannot be stored so; there is then no quality. `microseconds`: the time of one call on the
    first samples, where it was measured, `rows` of them.
    """

    embedding: Formats
    quality: Mapping[str, Quality]
    allowed: bool
    refused: str | None = None
    precision: Formats = "fp32"
    microseconds: float | None = None
    rows: int = 0

    def to_dict(self) -> dict[str, Any]:
        return {
            "embedding": self.embedding if isinstance(self.embedding, str) else dict(self.embedding),
            "precision": self.precision if isinstance(self.precision, str) else dict(self.precision),
            "quality": {label: _without_nan(each) for label, each in self.quality.items()},
            "allowed": self.allowed,
            "refused": self.refused,
            "microseconds": self.microseconds,
            "rows": self.rows,
        }


def _without_nan(quality: Quality) -> dict[str, Any]:
    """Tell what is not defined has no number in JSON; AUC and log-loss are there in any case."""
    return {name: value for name, value in asdict(quality).items() if value == value or name in ("auc", "log_loss")}


def auc(predictions: Array, labels: Array) -> float:
    """Return the share of pairs (positive, negative) in the right order, ties counting half: by ranks, in n log n.

    (sum of the ranks of the positives - P (P + 1) / 2) / (P * Q), ranks from 1, the mean rank among equals.
    """
    positive = np.asarray(labels) > 0.5
    wanted, others = int(positive.sum()), int((~positive).sum())
    if not wanted or not others or not np.isfinite(predictions).all():
        return float("nan")
    _, place, count = np.unique(predictions, return_inverse=True, return_counts=True)
    rank = np.cumsum(count) - (count - 1) / 2
    return float((rank[place[positive]].sum() - wanted * (wanted + 1) / 2) / (wanted * others))


def log_loss(predictions: Array, labels: Array) -> float:
    """-mean(y log p + (1 - y) log(1 - p)), p kept 1.2e-7 away from 0 and 1."""
    p = np.asarray(predictions, np.float64)
    if not p.size or not ((p >= 0) & (p <= 1)).all():
        return float("nan")
    p = np.clip(p, SMALLEST, 1 - SMALLEST)
    return float(-np.mean(np.where(np.asarray(labels) > 0.5, np.log(p), np.log1p(-p))))


def rank_correlation(a: Array, b: Array) -> float:
    """Spearman's: the correlation of the ranks, the mean rank among equals; 1 for two that are the same; nan with NaN."""
    if np.isnan(a).any() or np.isnan(b).any():
        return float("nan")
    if np.array_equal(a, b):
        return 1.0
    ranks = [_ranks(each) for each in (a, b)]
    deviations = [rank - rank.mean() for rank in ranks]
    size = float(np.sqrt(np.prod([each @ each for each in deviations])))
    return float(deviations[0] @ deviations[1] / size) if size > 0 else float("nan")


def _ranks(values: Array) -> Array:
    _, place, count = np.unique(values, return_inverse=True, return_counts=True)
    return np.asarray((np.cumsum(count) - (count - 1) / 2)[place])


@dataclass(frozen=True, eq=False)
class SampleAnswers:
    """The predictions of a model by output, and the labels that the samples hold."""

    source: str
    predictions: Mapping[str, Array]
    labels: Mapping[str, Array]


def evaluate_samples(
    compiled: Predictor,
    samples: Samples,
    before: SampleAnswers | None = None,
    *,
    batch: int = _BATCH_ROWS,
    needs_labels: bool = True,
) -> dict[str, Quality]:
    """AUC and log-loss of each label that the samples hold, by its name; `label[1]` where it has several columns.

    samples: an .npz file or a mapping with the inputs by name and 0 or 1 for each label by the name of its output, one
    row a sample; or a `Dataset`. before: the answers to compare with. Without `needs_labels` outputs without labels count
    too. Raises FeedError for samples that do not fit the model.
    """
    answers = answer_samples(compiled, samples, batch=batch, needs_labels=needs_labels)
    return {each.label: each for each in judge(answers, before)}


def answer_samples(
    compiled: Predictor, samples: Samples, *, batch: int = _BATCH_ROWS, needs_labels: bool = True
) -> SampleAnswers:
    """Run a model on samples, `batch` at once. Raises FeedError for samples that do not fit the model."""
    name, batches = _batches(compiled, samples, batch)
    found: dict[str, list[Array]] = {}
    given: dict[str, list[Array]] = {}
    for inputs, labels in batches:
        outputs = compiled.run(inputs)
        for label in outputs:
            if label in labels:
                given.setdefault(label, []).append(np.asarray(labels[label]))
            if label in labels or not needs_labels:
                found.setdefault(label, []).append(outputs[label])
    if needs_labels and not given:
        raise FeedError(
            f"{name}: holds no labels: add one array of 0 and 1 for each of {', '.join(compiled.ir.outputs)}"
        )
    return SampleAnswers(
        name, *({label: np.concatenate(parts) for label, parts in each.items()} for each in (found, given))
    )


def first_inputs(compiled: Predictor, samples: Samples, rows: int) -> dict[str, Array]:
    """Return the inputs of the first samples, as the model takes them; keys that are not padded cannot be cut and come all."""
    inputs, _ = next(_batches(compiled, samples, rows)[1])
    forms = {value.node.name: InputForm.of_type(value.type) for value in compiled.ir.inputs}
    arrays = normalize_feeds(forms, inputs)
    is_padded = len({len(array) for array in arrays.values()}) == 1
    return {name: array[:rows] for name, array in arrays.items()} if is_padded else arrays


def judge(answers: SampleAnswers, before: SampleAnswers | None = None) -> Iterator[Quality]:
    """Yield the quality of each column of each output."""
    for label, predictions in answers.predictions.items():
        truth = answers.labels.get(label)
        if truth is not None:
            _check_labels(answers.source, label, predictions, truth)
        columns = predictions.reshape(len(predictions), -1)
        truths = None if truth is None else truth.reshape(columns.shape)
        earlier = None if before is None else before.predictions[label].reshape(columns.shape)
        for column in range(columns.shape[1]):
            called = label if columns.shape[1] == 1 else f"{label}[{column}]"
            own = [None if each is None else each[:, column] for each in (truths, earlier)]
            yield _judge(called, columns[:, column], *own)


def _check_labels(name: str, label: str, predictions: Array, given: Array) -> None:
    if predictions.size != given.size:
        raise FeedError(f"{name}: {label} has the shape {list(given.shape)}; the model gives {list(predictions.shape)}")
    if given.dtype.kind not in "fiub" or not np.isin(given, (0, 1)).all():
        raise FeedError(f"{name}: {label} must hold 0 and 1 only")


def _judge(label: str, own: Array, truth: Array | None, before: Array | None) -> Quality:
    positives, area, loss = 0, float("nan"), float("nan")
    if truth is not None:
        positives, area, loss = int((truth > 0.5).sum()), auc(own, truth), log_loss(own, truth)
    if before is None:
        return Quality(label, len(own), positives, area, loss)
    change = np.abs(own.astype(np.float64) - before)
    mean = float(before.mean(dtype=np.float64))
    moved = abs(float(own.mean(dtype=np.float64)) - mean)
    return Quality(
        label,
        len(own),
        positives,
        area,
        loss,
        float(change.max()),
        float(change.mean()),
        rank_correlation(own, before),
        moved / abs(mean) if mean else float("nan"),
    )


Batches = Iterator[tuple[Mapping[str, Any], Mapping[str, Any]]]


def _batches(compiled: Predictor, samples: Samples, batch: int) -> tuple[str, Batches]:
    if isinstance(samples, UnopenedData):
        samples = open_dataset(samples.data, compiled, **samples.options)
    if isinstance(samples, Dataset):
        return samples.name, iter(samples)
    name, arrays = _read(samples)
    outputs = [label for label in compiled.ir.outputs if label in arrays]
    inputs = [value.node.name for value in compiled.ir.inputs]
    missing = [each for each in inputs if each not in arrays]
    if missing and outputs:
        raise FeedError(f"{name}: lacks the input {', '.join(missing)}; the inputs are {', '.join(inputs)}")
    rows = _rows(name, {each: arrays[each] for each in (*inputs, *outputs) if each in arrays})
    return name, (
        (
            {each: arrays[each][start : start + batch] for each in inputs},
            {each: arrays[each][start : start + batch] for each in outputs},
        )
        for start in range(0, rows, batch)
    )


def _read(samples: object) -> tuple[str, dict[str, Array]]:
    if isinstance(samples, str | os.PathLike):
        return os.fspath(samples), load_arrays(os.fspath(samples))
    if not isinstance(samples, Mapping):
        raise FeedError(f"samples are {type(samples).__name__}, expected an .npz file or arrays by name")
    try:
        return "the samples", {str(each): np.asarray(array) for each, array in samples.items()}
    except (ValueError, TypeError, OverflowError) as failure:
        raise FeedError(f"the samples are no arrays: {failure}") from None


def _rows(name: str, arrays: Mapping[str, Array]) -> int:
    """Return the number of samples, the same for all arrays."""
    counts = {each: len(array) if array.ndim else 0 for each, array in arrays.items()}
    if len(set(counts.values())) > 1 or not min(counts.values()):
        listed = ", ".join(f"{each} {count}" for each, count in counts.items())
        raise FeedError(f"{name}: the arrays must have one row for each sample; they have {listed}")
    return min(counts.values())
