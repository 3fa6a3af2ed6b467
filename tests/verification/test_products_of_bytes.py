"""Files with products of bytes against their source."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import numpy_helper

import hugectr2onnx
from hugectr2onnx.backend.runtime import byte_products
from hugectr2onnx.errors import OptionError, UnsupportedError
from hugectr2onnx.frontend.weights.snapshot import Weights
from hugectr2onnx.verification.result import FileDiffersError
from hugectr2onnx.verification.verify_file import verify

WIDTH = 300
GRAPH: dict[str, Any] = {
    "layers": [
        {
            "type": "Data",
            "label": {"top": "label", "label_dim": 1},
            "dense": {"top": "dense", "dense_dim": WIDTH},
            "sparse": [],
        },
        {"type": "InnerProduct", "bottom": "dense", "top": "fc1", "fc_param": {"num_output": WIDTH}},
        {"type": "ReLU", "bottom": "fc1", "top": "relu1"},
        {"type": "InnerProduct", "bottom": "relu1", "top": "fc2", "fc_param": {"num_output": 1}},
        {"type": "BinaryCrossEntropyLoss", "bottom": ["fc2", "label"], "top": "loss"},
    ]
}


@pytest.fixture
def weights(tmp_path: Path) -> Weights:
    random = np.random.default_rng(0)
    parts = [random.normal(0, WIDTH**-0.5, shape) for shape in ((WIDTH, WIDTH), (WIDTH,), (WIDTH, 1), (1,))]
    (tmp_path / "m_dense_0.model").write_bytes(b"".join(part.astype(np.float32).tobytes() for part in parts))
    return Weights(tmp_path / "m_dense_0.model")


@pytest.fixture
def file(tmp_path: Path, weights: Weights) -> Path:
    compiled = hugectr2onnx.compile(GRAPH, weights, precision="int8")
    assert [each.precision for each in compiled.report.products] == ["int8", "fp32"]
    compiled.save(tmp_path / "m.onnx")
    return tmp_path / "m.onnx"


@pytest.mark.parametrize("level", range(4))
def test_every_level_has_products_of_bytes(level: int, weights: Weights) -> None:
    compiled = hugectr2onnx.compile(GRAPH, weights, level, precision={"fc1": "int8"})
    assert "MatMulInteger" in {node.op_type for node in compiled.model.graph.node}
    assert compiled.report.opt_level == level
    (cost,) = compiled.report.format_costs
    assert 0 < cost.mean_change < cost.max_change


def test_a_file_is_that_of_its_source(file: Path, weights: Weights) -> None:
    found = verify(file, GRAPH, weights)
    assert found.identity is not None
    assert found.identity.identical
    assert "operand of relu1.operand" in {output.name for output in found.parity.outputs}


def test_one_changed_weight_is_found(file: Path, weights: Weights) -> None:
    model = onnx.load(file)
    (tensor,) = [each for each in model.graph.initializer if each.data_type == onnx.TensorProto.INT8]
    array = numpy_helper.to_array(tensor).copy()
    array[7, 11] += 5
    tensor.CopyFrom(numpy_helper.from_array(array, tensor.name))
    onnx.save(model, file)
    with pytest.raises(
        FileDiffersError, match=r"the constant fc1.weight.int8 is not that of the source: 1 of its numbers"
    ):
        verify(file, GRAPH, weights)


def test_a_search_needs_samples(weights: Weights) -> None:
    with pytest.raises(OptionError, match="precision 'auto' is searched on samples: use `compile_measured`"):
        hugectr2onnx.compile(GRAPH, weights, precision="auto")


def test_8_bit_weights_cannot_be_proven_where_their_sums_are_cut(
    weights: Weights, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(byte_products, "saturates", lambda: True)
    with pytest.raises(UnsupportedError, match=r"a model for cpu='vnni' cannot be proven on it"):
        hugectr2onnx.compile(GRAPH, weights, precision="int8", cpu="vnni")
    unchecked = hugectr2onnx.compile(GRAPH, weights, precision="int8", cpu="vnni", check=False)
    stored = {each.name: numpy_helper.to_array(each) for each in unchecked.model.graph.initializer}
    assert (np.abs(stored["fc1.weight.int8"]).max(axis=0) == 127).all()
    assert "on this machine its int8 products give wrong answers" in unchecked.report.warnings[-1]
