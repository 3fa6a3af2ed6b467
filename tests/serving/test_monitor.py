"""`Monitor`: what it counts, by instruments that write everything down."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

from hugectr2onnx.serving.monitor import Monitor
from hugectr2onnx.serving.served_model import ServedModel


class Written:
    """Instruments that keep sums, last values and observations by name and labels."""

    def __init__(self) -> None:
        self.sums: Counter[tuple[str, ...]] = Counter()
        self.last: dict[tuple[str, ...], float] = {}

    def counter(self, name: str, text: str, labels: Any) -> Any:
        def add(value: float, *found: str) -> None:
            assert len(found) == len(labels)
            self.sums[(name, *found)] += value

        return add

    def gauge(self, name: str, text: str, labels: Any) -> Any:
        return lambda value, *found: self.last.update({(name, *found): value})

    def histogram(self, name: str, text: str, labels: Any, bounds: Any) -> Any:
        return lambda value, *found: self.last.update({(name, *found): value})


@pytest.fixture
def monitored(wdl: Any) -> Iterator[tuple[Monitor, Written]]:
    written = Written()
    monitor = Monitor(ServedModel(wdl.onnx(), "wdl"), written)
    yield monitor, written
    monitor.close()


def test_requests_rows_and_time(monitored: Any, wdl: Any) -> None:
    monitor, written = monitored
    monitor.predicted(wdl.inputs, {"label": wdl.predictions}, 0.25)
    assert written.sums["requests", "wdl"] == 1
    assert written.sums["rows", "wdl"] == 1000
    assert written.last["request_seconds", "wdl"] == 0.25


def test_padding(monitored: Any, wdl: Any) -> None:
    monitor, written = monitored
    inputs = {**wdl.inputs, "wide_data": np.array([[[5], [-1]], [[-1], [-7]]])}
    monitor.predicted(inputs, {"label": wdl.predictions}, 0.1)
    assert written.sums["keys", "wdl", "wide_data"] == 4
    assert written.sums["padding_keys", "wdl", "wide_data"] == 3


def test_nan_is_counted_and_left_out_of_the_mean(monitored: Any, wdl: Any) -> None:
    monitor, written = monitored
    monitor.predicted(wdl.inputs, {"label": np.array([[0.2], [np.nan], [0.4]], np.float32)}, 0.1)
    assert written.sums["nan_predictions", "wdl", "label"] == 1
    assert written.last["mean_prediction", "wdl", "label"] == pytest.approx(0.3)


def test_the_mean_is_that_of_late_rows(monitored: Any, wdl: Any) -> None:
    monitor, written = monitored
    for value in (0.1, 0.9):
        monitor.predicted(wdl.inputs, {"label": np.full((20_000, 1), value, np.float32)}, 0.1)
    assert written.last["mean_prediction", "wdl", "label"] == pytest.approx(0.9)


def test_refusals_have_a_reason(monitored: Any) -> None:
    monitor, written = monitored
    monitor.refused("busy")
    assert written.sums["refused_requests", "wdl", "busy"] == 1


def test_keys_without_padding_are_not_looked_at(wdl: Any) -> None:
    written = Written()
    monitor = Monitor(ServedModel(wdl.onnx("csr"), "wdl"), written)
    monitor.predicted({}, {"label": wdl.predictions}, 0.1)
    monitor.close()
    assert not any(name == "keys" for name, *_ in written.sums)
