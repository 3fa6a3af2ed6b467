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
    StoreError,
    StoreUnavailableError,
    UnsupportedError,
    VerificationError,
    WeightsError,
)
from hugectr2onnx.version import __version__

if TYPE_CHECKING:
    from hugectr2onnx import converter
    from hugectr2onnx.backend.runtime.sessions import open_session
    from hugectr2onnx.backend.saving.folder import clean_folder, rebuild_manifest, verify_manifest
    from hugectr2onnx.backend.saving.key_file import KeyMapper
    from hugectr2onnx.checking.dry_run import check
    from hugectr2onnx.comparison.bisect import bisect
    from hugectr2onnx.comparison.compare import compare
    from hugectr2onnx.comparison.structure import diff
    from hugectr2onnx.compiled_model import CompiledModel
    from hugectr2onnx.compiler import compile
    from hugectr2onnx.converter import convert
    from hugectr2onnx.datasets.dataset import open_dataset
    from hugectr2onnx.drawing.draw import draw
    from hugectr2onnx.frontend.layers.registration import register_layer
    from hugectr2onnx.frontend.weights.snapshot import Weights
    from hugectr2onnx.inspection.embedding_table import read_table
    from hugectr2onnx.inspector import inspect
    from hugectr2onnx.latency.bench import bench
    from hugectr2onnx.options import Options
    from hugectr2onnx.quantization.metrics import evaluate_samples
    from hugectr2onnx.quantization.search import compile_measured
    from hugectr2onnx.reporting.report import write_report
    from hugectr2onnx.scoring.predict import evaluate, predict
    from hugectr2onnx.scoring.scorer import Scorer
    from hugectr2onnx.stores.export import export_split
    from hugectr2onnx.stores.hps_export import export_hps
    from hugectr2onnx.stores.hps_layout import HpsLayout
    from hugectr2onnx.stores.lookup_client import LookupClient
    from hugectr2onnx.stores.split_folder import open_store
    from hugectr2onnx.stores.split_scorer import SplitScorer
    from hugectr2onnx.updating.update import update
    from hugectr2onnx.verification.verify_file import verify

_HOMES = {
    "compile": "hugectr2onnx.compiler",
    "convert": "hugectr2onnx.converter",
    "CompiledModel": "hugectr2onnx.compiled_model",
    "Options": "hugectr2onnx.options",
    "KeyMapper": "hugectr2onnx.backend.saving.key_file",
    "clean_folder": "hugectr2onnx.backend.saving.folder",
    "rebuild_manifest": "hugectr2onnx.backend.saving.folder",
    "verify_manifest": "hugectr2onnx.backend.saving.folder",
    "Weights": "hugectr2onnx.frontend.weights.snapshot",
    "check": "hugectr2onnx.checking.dry_run",
    "compare": "hugectr2onnx.comparison.compare",
    "bench": "hugectr2onnx.latency.bench",
    "bisect": "hugectr2onnx.comparison.bisect",
    "diff": "hugectr2onnx.comparison.structure",
    "compile_measured": "hugectr2onnx.quantization.search",
    "draw": "hugectr2onnx.drawing.draw",
    "evaluate": "hugectr2onnx.scoring.predict",
    "evaluate_samples": "hugectr2onnx.quantization.metrics",
    "inspect": "hugectr2onnx.inspector",
    "open_dataset": "hugectr2onnx.datasets.dataset",
    "register_layer": "hugectr2onnx.frontend.layers.registration",
    "open_session": "hugectr2onnx.backend.runtime.sessions",
    "predict": "hugectr2onnx.scoring.predict",
    "read_table": "hugectr2onnx.inspection.embedding_table",
    "Scorer": "hugectr2onnx.scoring.scorer",
    "export_hps": "hugectr2onnx.stores.hps_export",
    "HpsLayout": "hugectr2onnx.stores.hps_layout",
    "export_split": "hugectr2onnx.stores.export",
    "LookupClient": "hugectr2onnx.stores.lookup_client",
    "open_store": "hugectr2onnx.stores.split_folder",
    "SplitScorer": "hugectr2onnx.stores.split_scorer",
    "update": "hugectr2onnx.updating.update",
    "verify": "hugectr2onnx.verification.verify_file",
    "write_report": "hugectr2onnx.reporting.report",
}
"""The module of each public name that is imported when it is first used."""


def __getattr__(name: str) -> Any:
    if name == "converter":
        return import_module("hugectr2onnx.converter")
    if name not in _HOMES:
        from difflib import get_close_matches

        near = get_close_matches(name, __all__, 1)
        hint = f"; did you mean {near[0]!r}?" if near else ""
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}{hint}")
    return getattr(import_module(_HOMES[name]), name)


def __dir__() -> list[str]:
    return __all__


__all__ = [
    "CompiledModel",
    "CompilerError",
    "FeedError",
    "GraphJsonError",
    "HpsLayout",
    "HugeCTR2ONNXError",
    "KeyMapper",
    "LookupClient",
    "MissingInformationError",
    "OptionError",
    "Options",
    "OutputError",
    "ParityError",
    "PassError",
    "Scorer",
    "ShapeError",
    "SplitScorer",
    "StoreError",
    "StoreUnavailableError",
    "UnsupportedError",
    "VerificationError",
    "Weights",
    "WeightsError",
    "__version__",
    "check",
    "clean_folder",
    "bench",
    "bisect",
    "compare",
    "compile",
    "compile_measured",
    "convert",
    "converter",
    "draw",
    "diff",
    "evaluate",
    "evaluate_samples",
    "export_hps",
    "export_split",
    "inspect",
    "open_dataset",
    "open_session",
    "open_store",
    "register_layer",
    "predict",
    "read_table",
    "update",
    "verify",
    "rebuild_manifest",
    "verify_manifest",
    "write_report",
]
