"""EqualShares and ColumnSum: means over the batch as a product."""

from __future__ import annotations

import numpy as np
import pytest

from hugectr2onnx.backend.onnx.emitter import emit
from hugectr2onnx.errors import ShapeError
from hugectr2onnx.ir.graph import Graph
from hugectr2onnx.ir.ops.dice import ColumnSum, EqualShares
from hugectr2onnx.ir.types import N, TensorType, f32, i64


def test_shares_are_one_number_a_row_whatever_the_rows_hold():
    assert EqualShares().infer(i64(N, 3, 1)) == f32(1, N)
    assert EqualShares().evaluate(np.zeros((4, 3, 1), np.int64)).tolist() == [[0.25] * 4]


def test_rows_are_summed_by_their_shares():
    shares, x = np.array([[0.5, 2.0]]), np.array([[1.0, 2], [3, 4]])
    assert ColumnSum().infer(f32(1, N), f32(N, 3)) == f32(1, 3)
    assert ColumnSum().evaluate(shares, x).tolist() == [[6.5, 9]]
    assert ColumnSum(0.25).evaluate(shares, x).tolist() == [[6.75, 9.25]]


@pytest.mark.parametrize("shares, x", [(f32(1, N), f32(2, 3)), (f32(N), f32(N, 3)), (f32(1, N), f32(N))])
def test_operands_that_do_not_fit_are_refused(shares: TensorType, x: TensorType):
    with pytest.raises(ShapeError, match=r"cannot be summed with shares of"):
        ColumnSum().infer(shares, x)


def test_a_number_has_no_rows():
    with pytest.raises(ShapeError, match=r"f32\[\] has no rows to share among"):
        EqualShares().infer(f32())


@pytest.mark.parametrize("plus", [0.0, 0.5])
@pytest.mark.parametrize("batch", [1, 7])
def test_the_expansion_is_the_mean(batch, plus):
    import onnxruntime

    graph = Graph()
    x = graph.input("x", f32(N, 3))
    graph.output({"y": ColumnSum(plus)(EqualShares()(x), x)})
    model = emit(graph, graph_name="t", opset=17, version="0", metadata={}).inline()
    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    array = np.random.default_rng(0).normal(size=(batch, 3)).astype(np.float32)
    (y,) = session.run(["y"], {"x": array})
    np.testing.assert_allclose(y, array.mean(0, keepdims=True) + plus, rtol=1e-5, atol=1e-6)
