"""`Monitor`: the numbers that the owner of a recommender watches, for any system of metrics."""

from __future__ import annotations

import threading
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Protocol

import numpy as np

from hugectr2onnx.ir.types import Array
from hugectr2onnx.serving.served_model import ServedModel
from hugectr2onnx.serving.unknown_key_watch import UnknownKeyWatch

if TYPE_CHECKING:
    from hugectr2onnx.scoring.unknown_keys import SlotKeys

PREFIX = "hugectr2onnx_"
MEAN_ROWS = 10_000
"""About so many rows are in the mean prediction."""
LATENCIES = (0.0005, 0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0)
"""Seconds: the bounds of the histogram."""


class Instrument(Protocol):
    """A metric with labels: add to a counter, set a gauge, observe in a histogram."""

    def __call__(self, value: float, *labels: str) -> None: ...


class Instruments(Protocol):
    """Makes metrics: the client library of Prometheus, or Triton's own."""

    def counter(self, name: str, text: str, labels: Sequence[str]) -> Instrument: ...
    def gauge(self, name: str, text: str, labels: Sequence[str]) -> Instrument: ...
    def histogram(self, name: str, text: str, labels: Sequence[str], bounds: Sequence[float]) -> Instrument: ...


class Monitor:
    """Metrics of one model. `predicted` costs microseconds; unknown keys are counted on the side, on samples."""

    def __init__(self, model: ServedModel, instruments: Instruments) -> None:
        self._model = model
        name, label = ("model",), ("model", "label")
        slot = ("model", "input", "slot")
        self._requests = instruments.counter("requests", "Requests answered.", name)
        self._refused = instruments.counter("refused_requests", "Requests refused, by reason.", ("model", "reason"))
        self._rows = instruments.counter("rows", "Samples predicted.", name)
        self._seconds = instruments.histogram("request_seconds", "Time of a prediction.", name, LATENCIES)
        self._keys = instruments.counter("keys", "Places for keys in requests.", ("model", "input"))
        self._padding = instruments.counter("padding_keys", "Places that held padding.", ("model", "input"))
        self._nan = instruments.counter("nan_predictions", "Predictions that are NaN.", label)
        self._mean = instruments.gauge("mean_prediction", "Mean prediction of the last 10,000 rows or so.", label)
        self._checked = instruments.counter("checked_keys", "Keys of sampled requests that were looked up.", slot)
        self._unknown = instruments.counter("unknown_keys", "Those of them that the model does not have.", slot)
        self._share = instruments.gauge("unknown_key_share", "Share of unknown keys lately.", slot)
        self._rises = instruments.counter("unknown_key_warnings", "Times that this share rose.", slot)
        self._means: dict[str, tuple[float, float]] = {}
        self._lock = threading.Lock()
        can_count = model.interface == "padded"
        self._watch = UnknownKeyWatch(model, self._counted) if can_count else None

    def predicted(self, inputs: Mapping[str, Array], outputs: Mapping[str, Array], seconds: float) -> None:
        """Take in one answered request."""
        name = self._model.name
        self._requests(1, name)
        self._rows(self._model.rows_of(outputs), name)
        self._seconds(seconds, name)
        for sparse in self._model.schema.sparse if self._watch is not None else ():
            if sparse.name in inputs:
                keys = inputs[sparse.name]
                padding = self._model.schema.padding
                padded = (keys < 0) if padding < 0 else (keys == padding)
                self._keys(keys.size, name, sparse.name)
                self._padding(int(padded.sum()), name, sparse.name)
        for label, values in outputs.items():
            self._add_predictions(label, values)
        if self._watch is not None:
            self._watch.see(inputs)

    def refused(self, reason: str) -> None:
        """Take in one request that got no answer: `invalid`, `busy`, `large`, `slow` or `failed`."""
        self._refused(1, self._model.name, reason)

    def close(self) -> None:
        """End what runs on the side."""
        if self._watch is not None:
            self._watch.close()

    def _add_predictions(self, label: str, values: Array) -> None:
        is_nan = np.isnan(values) if values.dtype.kind == "f" else np.zeros(values.shape, bool)
        bad = int(is_nan.sum())
        self._nan(bad, self._model.name, label)
        good = values.size - bad
        if not good:
            return
        added, kept = (
            float((values[~is_nan] if bad else values).sum(dtype=np.float64)),
            max(0.0, 1.0 - good / MEAN_ROWS),
        )
        with self._lock:
            total, count = self._means.get(label, (0.0, 0.0))
            total, count = total * kept + added, count * kept + good
            self._means[label] = (total, count)
        self._mean(total / count, self._model.name, label)

    def _counted(self, slot: SlotKeys, share: float, has_risen: bool) -> None:
        labels = (self._model.name, slot.input, str(slot.slot))
        self._checked(slot.keys, *labels)
        self._unknown(slot.unknown, *labels)
        self._share(share, *labels)
        self._rises(float(has_risen), *labels)
