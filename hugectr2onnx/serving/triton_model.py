"""The model that Triton's Python backend runs: `ServedModel` behind the backend's three functions.

Each request is predicted by itself: its predictions have the same bits whatever else is asked at the time.
"""

from __future__ import annotations

import json
import logging
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import triton_python_backend_utils as backend

from hugectr2onnx.backend.onnx.onnx_file import EXPORTED_NAME
from hugectr2onnx.errors import HugeCTR2ONNXError
from hugectr2onnx.ir.types import Array
from hugectr2onnx.serving.monitor import PREFIX, Instrument, Monitor
from hugectr2onnx.serving.served_model import ServedModel
from hugectr2onnx.serving.triton_config import THREADS, outputs_of

_logger = logging.getLogger(__name__)


class TritonPythonModel:
    """The class that Triton's Python backend makes an object of for each instance, in a process of its own."""

    def initialize(self, args: Mapping[str, str]) -> None:
        """Open the model. An error that is raised here is what Triton says about the model that it could not load."""
        logging.basicConfig(stream=sys.stderr, level=logging.WARNING)
        config = json.loads(args["model_config"])
        folder = Path(args["model_repository"]) / args["model_version"]
        threads = int(config["parameters"].get(THREADS, {}).get("string_value", "1"))
        self.model = ServedModel(folder / EXPORTED_NAME, args["model_name"], threads=threads)
        self.names = outputs_of(self.model)
        self.monitor = Monitor(self.model, _TritonInstruments())
        self.model.warm_up()

    def execute(self, requests: Sequence[Any]) -> list[Any]:
        """Return the responses to some requests, in their order; what does not fit is an error of its request alone."""
        return [self._answer(request) for request in requests]

    def finalize(self) -> None:
        """Close what runs on the side; the process ends."""
        self.monitor.close()

    def _answer(self, request: Any) -> Any:
        try:
            given = {tensor.name(): tensor.as_numpy() for tensor in request.inputs()}
            start = time.perf_counter()
            arrays = self.model.checked(given)
            found = self.model.scorer(arrays)
        except HugeCTR2ONNXError as error:
            self.monitor.refused("invalid")
            return backend.InferenceResponse(error=_invalid(str(error)))
        self.monitor.predicted(arrays, found, time.perf_counter() - start)
        wanted = set(request.requested_output_names())
        tensors = [
            backend.Tensor(name, self._shaped(found[form.name])) for name, form in self.names.items() if name in wanted
        ]
        return backend.InferenceResponse(output_tensors=tensors)

    def _shaped(self, array: Array) -> Array:
        return np.ascontiguousarray(array.reshape(-1) if self.model.interface == "hugectr" else array)


def _invalid(message: str) -> Any:
    code = getattr(backend.TritonError, "INVALID_ARG", None)
    return backend.TritonError(message) if code is None else backend.TritonError(message, code)


class _TritonInstruments:
    """Triton's custom metrics, which appear at its own /metrics. It has latencies of its own."""

    def counter(self, name: str, text: str, labels: Sequence[str]) -> Instrument:
        return self._made(f"{name}_total", text, labels, backend.MetricFamily.COUNTER, "increment")

    def gauge(self, name: str, text: str, labels: Sequence[str]) -> Instrument:
        return self._made(name, text, labels, backend.MetricFamily.GAUGE, "set")

    def histogram(self, name: str, text: str, labels: Sequence[str], bounds: Sequence[float]) -> Instrument:
        return lambda value, *names: None

    def _made(self, name: str, text: str, labels: Sequence[str], kind: Any, verb: str) -> Instrument:
        try:
            family = backend.MetricFamily(name=PREFIX + name, description=text, kind=kind)
        except Exception as error:  # a server without metrics refuses them
            _logger.warning("metric %s: %s", name, error)
            return lambda value, *names: None
        known: dict[tuple[str, ...], Any] = {}

        def change(value: float, *names: str) -> None:
            if names not in known:
                known[names] = family.Metric(labels=dict(zip(labels, names, strict=True)))
            getattr(known[names], verb)(value)

        return change
