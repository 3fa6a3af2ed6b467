"""HugeCTR model folders with random weights: for trying things out, for tests and for benchmarks."""

from __future__ import annotations

from hugectr2onnx.sample_models.generate import generate_weights

__all__ = ["generate_weights"]
