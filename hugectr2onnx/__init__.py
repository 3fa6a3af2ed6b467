"""hugectr2onnx: a compiler from trained NVIDIA HugeCTR models to verified ONNX models.

    import hugectr2onnx
    compiled = hugectr2onnx.compile("wdl.json", "snapshots/")
    compiled.save("wdl.onnx")

Nothing is defined here, and nothing heavy is imported before it is used.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from hugectr2onnx.errors import (
    CompilerError,
    FeedError,
    GraphJsonError,
    HugeCTR2ONNXError,
    MissingInformationError,
    OptionError,
    OutputError,
    ParityError,
    PassError,
    ShapeError,
    UnsupportedError,
    VerificationError,
    WeightsError,
)
from hugectr2onnx.version import __version__

if TYPE_CHECKING:
    from hugectr2onnx import converter
    from hugectr2onnx.backend.runtime.sessions import open_session
    from hugectr2onnx.backend.saving.key_file import KeyMapper
    from hugectr2onnx.compiled_model import CompiledModel
    from hugectr2onnx.compiler import compile
    from hugectr2onnx.converter import convert
    from hugectr2onnx.frontend.weights.snapshot import Weights
    from hugectr2onnx.options import Options
    from hugectr2onnx.quantization.metrics import evaluate_samples
    from hugectr2onnx.quantization.search import compile_measured

_HOMES = {
    "compile": "hugectr2onnx.compiler",
    "convert": "hugectr2onnx.converter",
    "CompiledModel": "hugectr2onnx.compiled_model",
    "Options": "hugectr2onnx.options",
    "KeyMapper": "hugectr2onnx.backend.saving.key_file",
    "Weights": "hugectr2onnx.frontend.weights.snapshot",
    "compile_measured": "hugectr2onnx.quantization.search",
    "evaluate_samples": "hugectr2onnx.quantization.metrics",
    "open_session": "hugectr2onnx.backend.runtime.sessions",
}


def __getattr__(name: str) -> Any:
    if name == "converter":
        return import_module("hugectr2onnx.converter")
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(_HOMES[name]), name)


__all__ = [
    "CompiledModel",
    "CompilerError",
    "FeedError",
    "GraphJsonError",
    "HugeCTR2ONNXError",
    "KeyMapper",
    "MissingInformationError",
    "OptionError",
    "Options",
    "OutputError",
    "ParityError",
    "PassError",
    "ShapeError",
    "UnsupportedError",
    "VerificationError",
    "Weights",
    "WeightsError",
    "__version__",
    "compile",
    "compile_measured",
    "convert",
    "converter",
    "evaluate_samples",
    "open_session",
]
