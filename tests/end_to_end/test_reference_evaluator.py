"""Every key map and row format runs on the reference evaluator of onnx, keys beyond 32 bits among the feeds."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from onnx.reference import ReferenceEvaluator

import hugectr2onnx
from hugectr2onnx.frontend.loading import load
from hugectr2onnx.ir.feeds import feeds_for
from hugectr2onnx.options import Options
from hugectr2onnx.sample_models import write_sample


@pytest.mark.parametrize("level", [0, 2, 3])
@pytest.mark.parametrize("keys", ["label-encoder", "direct", "perfect-hash", "indices"])
def test_every_key_map(keys: str, level: int, tmp_path: Path) -> None:
    sample = write_sample("wdl", tmp_path / "model", rows=50)
    compiled = hugectr2onnx.compile(sample.graph, sample.weights, level, keys=keys, simplify=False)
    (verdict,) = [each for each in compiled.report.runs_on if each.runtime == "onnx reference evaluator"]
    assert verdict.verdict == "yes"
    feeds = feeds_for(compiled.ir, 7, seed=1)
    compiled.save(tmp_path / "m.onnx")
    (found,) = ReferenceEvaluator(str(tmp_path / "m.onnx")).run(None, feeds)
    np.testing.assert_allclose(found, compiled.run(feeds)["label"], rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("interface", ["csr", "hugectr"])
def test_keys_in_compressed_sparse_rows(interface: str, tmp_path: Path) -> None:
    sample = write_sample("wdl", tmp_path / "model", rows=50)
    compiled = hugectr2onnx.compile(sample.graph, sample.weights, interface=interface)
    feeds = feeds_for(load(sample.graph, sample.weights, Options(interface=interface)).graph, 7, seed=1)
    compiled.save(tmp_path / "m.onnx")
    (found,) = ReferenceEvaluator(str(tmp_path / "m.onnx")).run(None, feeds)
    np.testing.assert_allclose(found, compiled.run(feeds)["label"], rtol=1e-5, atol=1e-6)
