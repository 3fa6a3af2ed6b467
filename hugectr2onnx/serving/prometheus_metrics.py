"""Metrics in Prometheus' text format, by its client library."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from hugectr2onnx.serving.extras import require
from hugectr2onnx.serving.monitor import PREFIX, Instrument


class PrometheusInstruments:
    """Metrics in a registry of their own, or in one that is given."""

    def __init__(self, registry: Any = None) -> None:
        self._client = require("prometheus_client", "serve")
        self.registry = self._client.CollectorRegistry() if registry is None else registry

    def counter(self, name: str, text: str, labels: Sequence[str]) -> Instrument:
        metric = self._client.Counter(PREFIX + name, text, labels, registry=self.registry)
        return lambda value, *names: metric.labels(*names).inc(value)

    def gauge(self, name: str, text: str, labels: Sequence[str]) -> Instrument:
        metric = self._client.Gauge(PREFIX + name, text, labels, registry=self.registry)
        return lambda value, *names: metric.labels(*names).set(value)

    def histogram(self, name: str, text: str, labels: Sequence[str], bounds: Sequence[float]) -> Instrument:
        metric = self._client.Histogram(PREFIX + name, text, labels, registry=self.registry, buckets=bounds)
        return lambda value, *names: metric.labels(*names).observe(value)

    def text(self) -> tuple[bytes, str]:
        """Return all metrics, and the type of the text."""
        return self._client.generate_latest(self.registry), self._client.CONTENT_TYPE_LATEST
