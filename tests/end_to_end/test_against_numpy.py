"""Whole models against `numpy_reference`, which reads the same files by itself: every known graph, every sample."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import hugectr2onnx
from hugectr2onnx.sample_models import SAMPLES, generate_weights, write_sample

from .numpy_reference import Model
from .test_graphs import DESERVED, FILES, load, needs_graphs

BATCH = 6
LENGTHS = ("SequenceMask",)


def feeds_for(graph: dict[str, Any], sparse: list[Path]) -> dict[str, np.ndarray]:
    """Known keys, unknown ones, repeats and padding."""
    random = np.random.default_rng(7)
    data = graph["layers"][0]
    feeds = {}
    if data["dense"]["dense_dim"]:
        lengths = any(layer["type"] in LENGTHS for layer in graph["layers"])
        shape = BATCH, data["dense"]["dense_dim"]
        feeds[data["dense"]["top"]] = (random.integers(0, 12, shape) if lengths else random.normal(0, 1, shape)).astype(
            "f4"
        )
    readers = [layer for layer in graph["layers"] if "sparse_embedding_hparam" in layer]
    for entry in data["sparse"]:
        place = next(i for i, layer in enumerate(readers) if layer["bottom"] == entry["top"])
        known = np.fromfile(sparse[place] / "key", "<i8")
        if readers[place]["type"].endswith("OneHot"):
            known = np.arange(5)
        keys = random.choice(known, (BATCH, entry["slot_num"], most_keys(entry)))
        kind = random.random(keys.shape)
        feeds[entry["top"]] = np.where(kind < 0.15, -1, np.where(kind > 0.9, 2**61 + 5, keys))
    return feeds


def most_keys(entry: dict[str, Any]) -> int:
    if "nnz_per_slot" in entry:
        return int(np.max(entry["nnz_per_slot"]))
    most = entry["max_feature_num_per_sample"]
    return int(entry.get("max_nnz", 1 if most == entry["slot_num"] else most))


def compare(graph: dict[str, Any], weights: hugectr2onnx.Weights, **options: Any) -> None:
    ntp = json.loads(Path(weights.ntp).read_text())["layers"] if weights.ntp else ()
    assert weights.dense is not None
    feeds = feeds_for(graph, list(weights.tables))
    expected = Model(graph, Path(weights.dense), weights.tables, ntp).predict(feeds)
    for level in (0, 2):
        found = hugectr2onnx.compile(graph, weights, level, check=False, **options).run(feeds)
        assert found.keys() == expected.keys()
        for name, array in expected.items():
            np.testing.assert_allclose(found[name], array, rtol=2e-4, atol=2e-5, err_msg=f"{name} at level {level}")


@needs_graphs
@pytest.mark.parametrize("path", [p for p in FILES if p.stem not in DESERVED], ids=lambda path: path.stem)
def test_graph(path: Path, tmp_path: Path) -> None:
    graph = load(path)
    compare(graph, generate_weights(graph, tmp_path, rows=100))


@pytest.mark.parametrize("name", [name for name in SAMPLES if name != "dcnv2"])
def test_sample(name: str, tmp_path: Path) -> None:
    sample = write_sample(name, tmp_path / "model")
    compare(json.loads(sample.graph.read_text()), sample.weights)
