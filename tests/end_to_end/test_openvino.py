"""Level 2 uses standard operators only: it runs on a runtime that we never tuned for (the extra `openvino`).

Look-ups by LabelEncoder aside, which OpenVINO does not have: vectors are inputs, or keys are dense and need no encoder.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

import hugectr2onnx
from hugectr2onnx.ir.feeds import feeds_for
from hugectr2onnx.sample_models import SAMPLES, sample_feeds, write_sample

openvino = pytest.importorskip("openvino", reason="the extra `openvino` is not installed")


def run(model: bytes, feeds: dict[str, np.ndarray], folder: Path) -> dict[str, np.ndarray]:
    path = folder / "model.onnx"
    path.write_bytes(model)
    settings = {"INFERENCE_PRECISION_HINT": "f32"}
    compiled = openvino.Core().compile_model(str(path), "CPU", settings)
    answer = compiled([feeds[port.any_name] for port in compiled.inputs])
    return {port.any_name: answer[port] for port in compiled.outputs}


@pytest.mark.parametrize("name", SAMPLES)
def test_the_dense_part(name: str, tmp_path: Path) -> None:
    sample = write_sample(name, tmp_path / "model")
    compiled = hugectr2onnx.compile(sample.graph, sample.weights, 2, convert_embedding=False)
    feeds = feeds_for(compiled.ir, 5, seed=1)
    found = run(compiled.model.SerializeToString(), feeds, tmp_path)
    for label, expected in compiled.run(feeds).items():
        np.testing.assert_allclose(found[label], expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("format", ["fp32", "fp16", "int8"])
@pytest.mark.parametrize("name", ["wdl", "deepfm"])
def test_direct_lookups(name: str, format: str, tmp_path: Path) -> None:
    sample = write_sample(name, tmp_path / "model")
    compiled = hugectr2onnx.compile(sample.graph, sample.weights, 2, keys="direct", embedding=format)
    feeds = sample_feeds(sample, 5, seed=1)  # known keys: OpenVINO's CPU keeps 32 bits of an int64
    found = run(compiled.model.SerializeToString(), feeds, tmp_path)
    for label, expected in compiled.run(feeds).items():
        np.testing.assert_allclose(found[label], expected, rtol=1e-4, atol=1e-5)
