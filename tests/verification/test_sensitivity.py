"""The smallest change of a weight that generated feeds notice, for every sample model: recorded, so that it does not grow."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import numpy_helper

import hugectr2onnx
from hugectr2onnx.backend.onnx.artifact import Artifact
from hugectr2onnx.backend.runtime import parity
from hugectr2onnx.frontend.loading import load
from hugectr2onnx.sample_models import write_sample

STEPS = (1e-1, 1e-2, 1e-3, 1e-4, 1e-5)
NOTICED = {
    "wdl": 1e-5, "dcn": 1e-4, "dcnv2": 1e-5, "deepfm": 1e-5, "dlrm": 1e-4, "criteo_bn": 1e-4, "din": 1e-3, "bst": 1e-4,
    "mmoe": 1e-3, "shared_bottom": 1e-4, "ncf": 1e-4, "gmf": 1e-4, "neumf": 1e-4,
}  # fmt: skip
"""By how much of itself the first dense weight of a sample has to change: a tenth of it is not noticed (measured)."""


def scaled(model: onnx.ModelProto, tensor: str, factor: float) -> onnx.ModelProto:
    changed = onnx.ModelProto()
    changed.CopyFrom(model)
    entry = next(each for each in changed.graph.initializer if each.name == tensor)
    entry.CopyFrom(numpy_helper.from_array(numpy_helper.to_array(entry) * np.float32(factor), tensor))
    return changed


@pytest.mark.slow
@pytest.mark.parametrize("name", NOTICED)
def test_the_smallest_change_that_is_noticed(name: str, tmp_path: Path) -> None:
    sample = write_sample(name, tmp_path / name)
    options = hugectr2onnx.Options(
        opt_level=0,
        check=False,
        simplify=False,
        layer_attrs=sample.layer_attrs,
        slot_size_array=sample.slot_size_array,
    )
    artifact = hugectr2onnx.compile(sample.graph, sample.weights, options=options).artifact
    expected = parity.expect(load(sample.graph, sample.weights, options).graph)
    weight = next(
        tensor.name
        for tensor in artifact.skeleton.graph.initializer
        if ".weight" in tensor.name and not tensor.name.endswith(".rows")
    )
    noticed = [
        step
        for step in STEPS
        if not parity.measure(
            expected, parity.run(Artifact(scaled(artifact.skeleton, weight, 1 + step), artifact.tensors), expected)
        ).passed
    ]
    assert min(noticed) <= NOTICED[name]
