"""Fixtures that several test folders share."""

from __future__ import annotations

import json
from collections.abc import Callable, Generator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import hugectr2onnx
from hugectr2onnx.tables.perfect_hash import HashError

LEVELS = (0, 1, 2, 3)
BEYOND_THE_OLDEST = ("is later than the installed onnx", "the installed onnxruntime cannot multiply uint64")


@pytest.hookimpl(wrapper=True)
def pytest_runtest_call(item: pytest.Item) -> Generator[None, None, None]:
    """Skip a test of what the oldest packages that we support refuse, in words of ours, to do."""
    try:
        return (yield)
    except (hugectr2onnx.UnsupportedError, HashError) as error:
        if any(text in str(error) for text in BEYOND_THE_OLDEST):
            pytest.skip(str(error))
        raise


@pytest.fixture
def run_layer(tmp_path: Path) -> Callable[..., list[np.ndarray]]:
    """Compile a model of one layer at every level, run it, check that the levels agree, and return the outputs.

    `clause` has bottoms in0.. and tops out0..; `weights` are the arrays of the dense file in order; `ntp` is a pair
    (mean, var). With `dynamic` the first dimension of every input is the batch.
    """

    def run(
        clause: Mapping[str, Any],
        *inputs: np.ndarray,
        weights: Sequence[np.ndarray] | None = None,
        ntp: tuple[np.ndarray, np.ndarray] | None = None,
        attrs: Mapping[str, object] | None = None,
        dynamic: bool = True,
    ) -> list[np.ndarray]:
        files = _write(tmp_path, weights or [], ntp)
        feeds = {f"in{i}": np.asarray(array, np.float32) for i, array in enumerate(inputs)}
        shapes = {name: ("N", *a.shape[1:]) if dynamic else a.shape for name, a in feeds.items()}
        top = clause["top"] if isinstance(clause["top"], str) else clause["top"][0]
        graph = {"layers": [_data(), dict(clause)]}
        options = {"input_shapes": shapes, "layer_attrs": {top: attrs} if attrs else None}
        results = [hugectr2onnx.compile(graph, files, level, **options).run(feeds) for level in LEVELS]
        for other in results[1:]:
            for name, array in results[0].items():
                np.testing.assert_allclose(other[name], array, rtol=1e-4, atol=1e-5)
        return list(results[0].values())

    return run


def _data() -> dict[str, Any]:
    label, dense = {"top": "label", "label_dim": 1}, {"top": "dense", "dense_dim": 0}
    return {"type": "Data", "label": label, "dense": dense, "sparse": []}


def _write(folder: Path, weights: Sequence[np.ndarray], ntp: tuple[np.ndarray, np.ndarray] | None) -> dict[str, Path]:
    dense = folder / "model_dense_0.model"
    dense.write_bytes(b"".join(np.asarray(array, "<f4").tobytes() for array in weights))
    files = {"dense": dense}
    if ntp is not None:
        mean, var = (np.ravel(array).tolist() for array in ntp)
        files["ntp"] = folder / "model_dense_0.model.ntp.json"
        files["ntp"].write_text(json.dumps({"layers": [{"type": "BatchNorm", "mean": mean, "var": var}]}))
    return files
