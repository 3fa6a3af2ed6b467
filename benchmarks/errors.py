"""The error for requests that the benchmarks refuse."""

from __future__ import annotations

from hugectr2onnx.errors import HugeCTR2ONNXError


class BenchmarkError(HugeCTR2ONNXError):
    """The benchmark cannot be run as asked: the message says why and what to do."""

    exit_code = 2
