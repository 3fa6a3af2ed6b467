"""A model on OpenVINO's CPU: another runtime, which reads the standard operators of level 2 but for LabelEncoder."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from hugectr2onnx.backend.onnx.artifact import Artifact
from hugectr2onnx.errors import FeedError, UnsupportedError
from hugectr2onnx.ir.types import Array

RUNTIME = "OpenVINO"


class OpenVINOCalls:
    """A model that OpenVINO compiled for so many threads, in float32.

    model: a path, or a model in memory. Raises UnsupportedError where OpenVINO is not installed or cannot read the model.
    """

    def __init__(self, model: str | Artifact, threads: int):
        openvino = _openvino()
        settings = {"INFERENCE_NUM_THREADS": threads, "PERFORMANCE_HINT": "LATENCY", "INFERENCE_PRECISION_HINT": "f32"}
        core = openvino.Core()
        try:
            read = core.read_model(model if isinstance(model, str) else model.inline().SerializeToString())
            self._compiled = core.compile_model(read, "CPU", settings)
        except RuntimeError as error:
            raise UnsupportedError(
                f"{RUNTIME} cannot read it ({_reason(error)}); with keys='direct' or 'indices' (--keys) look-ups need no "
                "LabelEncoder"
            ) from error
        self._tensor = openvino.Tensor

    def answers(self, feed: Mapping[str, Array]) -> dict[str, Array]:
        """Return the outputs by name. Raises FeedError for a feed that the model fails on."""
        request = self._request(feed)
        return {port.any_name: np.array(request.get_tensor(port).data) for port in self._compiled.outputs}

    def calls(self, feeds: Sequence[Mapping[str, Array]]) -> list[Callable[[], object]]:
        """Return a call for each feed, with its inputs in memory beforehand."""
        return [self._request(feed).infer for feed in feeds]

    def _request(self, feed: Mapping[str, Array]) -> Any:
        request = self._compiled.create_infer_request()
        try:
            for name, array in feed.items():
                request.set_tensor(name, self._tensor(np.ascontiguousarray(array)))
            request.infer()
        except RuntimeError as error:
            raise FeedError(f"{RUNTIME} failed on these inputs: {_reason(error)}") from error
        return request


def _openvino() -> Any:
    try:
        import openvino
    except ImportError:
        raise UnsupportedError(f"{RUNTIME} is not installed: pip install 'hugectr2onnx[openvino]'") from None
    return openvino


def _reason(error: Exception) -> str:
    """Return the last line that says something: those before it are places in OpenVINO's source."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return lines[-1][:200] if lines else type(error).__name__
