"""HugeCTR model folders with random weights: for trying things out, for tests and for benchmarks.

    paths = write_sample("wdl", "folder")
    compiled = hugectr2onnx.compile(paths.graph, paths.weights)
    compiled.run(sample_feeds(paths, batch=64))

Names and descriptions of the samples are cheap to import; what writes and reads files is loaded when it is used.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from hugectr2onnx.sample_models.catalog import SAMPLES, Sample, SamplePaths, write_sample

if TYPE_CHECKING:
    from hugectr2onnx.sample_models.data_sets import write_data_set
    from hugectr2onnx.sample_models.feeds import random_feeds, sample_feeds
    from hugectr2onnx.sample_models.generate import generate_weights

_HOMES = {
    "generate_weights": "generate",
    "random_feeds": "feeds",
    "sample_feeds": "feeds",
    "write_data_set": "data_sets",
}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)


__all__ = [
    "SAMPLES",
    "Sample",
    "SamplePaths",
    "generate_weights",
    "random_feeds",
    "sample_feeds",
    "write_data_set",
    "write_sample",
]
