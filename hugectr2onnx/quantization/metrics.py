"""What a model's predictions are worth on labelled samples: area under the ROC curve and log-loss, by numpy alone."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from typing import Any, Protocol

import numpy as np

from hugectr2onnx.datasets.recorded_predictions import load_arrays
from hugectr2onnx.errors import FeedError
from hugectr2onnx.ir.graph import Graph
from hugectr2onnx.ir.types import Array

Formats = str | Mapping[str, str]
BATCH = 8192
SMALLEST = float(np.finfo(np.float32).eps)
"""Predictions nearer to 0 or 1 count as so near: float32 has nothing in between."""


class Predictor(Protocol):
    """A model that answers: `CompiledModel`, as far as its quality is measured."""

    @property
    def ir(self) -> Graph: ...

    def run(self, feeds: Mapping[str, Any]) -> Mapping[str, Array]: ...


@dataclass(frozen=True)
class Quality:
    """Of one label on some samples; nan where it is not defined.

    `auc` needs both labels among the samples, `log_loss` predictions from 0 to 1.
    """

    label: str
    samples: int
    positives: int
    auc: float
    log_loss: float


@dataclass(frozen=True)
class Trial:
    """One choice of row formats, what it gives on the samples, and whether the budget allows it.

    `refused` says which table cannot be stored so; there is then no quality.
    """

    embedding: Formats
    quality: Mapping[str, Quality]
    allowed: bool
    refused: str | None = None

    def to_dict(self) -> dict[str, Any]:
        return {
            "embedding": self.embedding if isinstance(self.embedding, str) else dict(self.embedding),
            "quality": {label: asdict(each) for label, each in self.quality.items()},
            "allowed": self.allowed,
            "refused": self.refused,
        }


def auc(predictions: Array, labels: Array) -> float:
    """The share of pairs (positive, negative) in the right order, ties counting half: by ranks, in n log n.

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


def evaluate_samples(
    compiled: Predictor, samples: str | os.PathLike[str] | Mapping[str, Any], *, batch: int = BATCH
) -> dict[str, Quality]:
    """AUC and log-loss of each label that the samples hold, by its name; `label[1]` where it has several columns.

    samples: an .npz file or a mapping with the inputs by name and 0 or 1 for each label by the name of its output, one
    row a sample. Raises FeedError for samples that do not fit the model.
    """
    name, arrays = _read(samples)
    outputs = [label for label in compiled.ir.outputs if label in arrays]
    inputs = [value.node.name for value in compiled.ir.inputs]
    if not outputs:
        raise FeedError(
            f"{name}: holds no labels: add one array of 0 and 1 for each of {', '.join(compiled.ir.outputs)}"
        )
    missing = [each for each in inputs if each not in arrays]
    if missing:
        raise FeedError(f"{name}: lacks the input {', '.join(missing)}; the inputs are {', '.join(inputs)}")
    rows = _rows(name, {each: arrays[each] for each in (*inputs, *outputs)})
    found: dict[str, list[Array]] = {label: [] for label in outputs}
    for start in range(0, rows, batch):
        answers = compiled.run({each: arrays[each][start : start + batch] for each in inputs})
        for label in outputs:
            found[label].append(answers[label])
    return {each.label: each for label in outputs for each in _judge(name, label, found[label], arrays[label])}


def _read(samples: str | os.PathLike[str] | Mapping[str, Any]) -> tuple[str, dict[str, Array]]:
    if isinstance(samples, str | os.PathLike):
        return os.fspath(samples), load_arrays(os.fspath(samples))
    if not isinstance(samples, Mapping):
        raise FeedError(f"samples are {type(samples).__name__}, expected an .npz file or arrays by name")
    try:
        return "the samples", {str(each): np.asarray(array) for each, array in samples.items()}
    except (ValueError, TypeError, OverflowError) as failure:
        raise FeedError(f"the samples are no arrays: {failure}") from None


def _rows(name: str, arrays: Mapping[str, Array]) -> int:
    """The number of samples, the same for all arrays."""
    counts = {each: len(array) if array.ndim else 0 for each, array in arrays.items()}
    if len(set(counts.values())) > 1 or not min(counts.values()):
        listed = ", ".join(f"{each} {count}" for each, count in counts.items())
        raise FeedError(f"{name}: the arrays must have one row for each sample; they have {listed}")
    return min(counts.values())


def _judge(name: str, label: str, answers: list[Array], given: Array) -> Iterator[Quality]:
    predictions = np.concatenate(answers)
    if predictions.size != given.size:
        raise FeedError(f"{name}: {label} has the shape {list(given.shape)}; the model gives {list(predictions.shape)}")
    if given.dtype.kind not in "fiub" or not np.isin(given, (0, 1)).all():
        raise FeedError(f"{name}: {label} must hold 0 and 1 only")
    columns = predictions.reshape(len(predictions), -1)
    labels = given.reshape(columns.shape)
    for column in range(columns.shape[1]):
        own, truth = columns[:, column], labels[:, column]
        called = label if columns.shape[1] == 1 else f"{label}[{column}]"
        yield Quality(called, len(own), int((truth > 0.5).sum()), auc(own, truth), log_loss(own, truth))
