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


def answers_beyond_32_bits(keys: str, folder: Path) -> tuple[np.ndarray, np.ndarray, hugectr2onnx.CompiledModel]:
    """OpenVINO's answer and the right one for keys that are those of the table but for their 33rd bit: none is known."""
    sample = write_sample("wdl", folder / "model", rows=50)
    compiled = hugectr2onnx.compile(sample.graph, sample.weights, 2, keys=keys, simplify=False)
    feeds = {
        name: array if array.dtype == np.float32 else array % 50 + (1 << 32)
        for name, array in sample_feeds(sample, 5, seed=1).items()
    }
    found = run(compiled.model.SerializeToString(), feeds, folder)
    return found["label"], compiled.run(feeds)["label"], compiled


def verdict(compiled: hugectr2onnx.CompiledModel) -> tuple[str, str]:
    (found,) = [each for each in compiled.report.runs_on if each.runtime == "OpenVINO"]
    return found.verdict, found.reason


def test_direct_keys_beyond_32_bits_read_rows_of_others(tmp_path: Path) -> None:
    found, right, compiled = answers_beyond_32_bits("direct", tmp_path)
    assert np.abs(found - right).max() > 0.01
    assert verdict(compiled)[0] == "yes, if"
    assert verdict(compiled)[1].startswith("keys fit in 32 bits")


def test_there_is_no_label_encoder(tmp_path: Path) -> None:
    with pytest.raises(RuntimeError, match="LabelEncoder"):
        answers_beyond_32_bits("label-encoder", tmp_path)


def test_a_perfect_hash_finds_other_rows(tmp_path: Path) -> None:
    sample = write_sample("wdl", tmp_path / "model", rows=50)
    compiled = hugectr2onnx.compile(sample.graph, sample.weights, 2, keys="perfect-hash", simplify=False)
    feeds = sample_feeds(sample, 5, seed=1)
    found = run(compiled.model.SerializeToString(), feeds, tmp_path)
    assert np.abs(found["label"] - compiled.run(feeds)["label"]).max() > 0.01
    assert verdict(compiled)[0] == "no"


@pytest.mark.parametrize("name", ["wdl", "dlrm", "din", "bst"])
def test_row_numbers_as_inputs(name: str, tmp_path: Path) -> None:
    sample = write_sample(name, tmp_path / "model", rows=50)
    compiled = hugectr2onnx.compile(sample.graph, sample.weights, 3, keys="indices", simplify=False)
    feeds = {k: v if v.dtype == np.float32 else np.clip(v, -1, 60) for k, v in feeds_for(compiled.ir, 5, 1).items()}
    found = run(compiled.model.SerializeToString(), feeds, tmp_path)
    for label, expected in compiled.run(feeds).items():
        np.testing.assert_allclose(found[label], expected, rtol=1e-4, atol=1e-5)
    assert verdict(compiled) == ("yes", "no key passes through the model")
