"""What the tests of operations share: one operation as a graph, run on onnxruntime."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from hugectr2onnx.backend.onnx.emitter import emit
from hugectr2onnx.backend.runtime import sessions
from hugectr2onnx.ir.graph import Graph
from hugectr2onnx.ir.op import Op
from hugectr2onnx.ir.types import Batch, TensorType

BATCHES = (1, 4)


@pytest.fixture(scope="session")
def on_onnxruntime() -> Callable[..., dict[str, np.ndarray]]:
    """The outputs of a graph that was emitted and run by onnxruntime."""

    def run(graph: Graph, feeds: dict[str, np.ndarray], opset: int = 17) -> dict[str, np.ndarray]:
        artifact = emit(graph, graph_name="test", opset=opset, version="0", metadata={})
        return sessions.run(sessions.session(artifact), feeds)

    return run


@pytest.fixture(scope="session")
def agree(on_onnxruntime: Callable[..., dict[str, np.ndarray]]) -> Callable[..., None]:
    """`infer`, `evaluate` and the ONNX of an op tell the same story for operands of these types."""

    def check(op: Op, *types: TensorType, opset: int = 17, **tolerance: float) -> None:
        inferred = op.infer(*types)
        assert isinstance(inferred, TensorType)
        for batch in BATCHES:
            random = np.random.default_rng(batch)
            arrays = [random.normal(0, 2, type.concrete(batch)).astype(np.float32) for type in types]
            for precision in (np.float32, np.float64):
                result = op.evaluate(*(array.astype(precision) for array in arrays))
                assert result.shape == inferred.concrete(batch)
                assert result.dtype == precision
            graph, feeds = one_op(op, types, arrays)
            found = on_onnxruntime(graph, feeds, opset)["y"]
            expected = op.evaluate(*(array.astype(np.float64) for array in arrays))
            assert found.dtype == np.float32
            assert found.shape == expected.shape
            np.testing.assert_allclose(found, expected, **{"rtol": 1e-5, "atol": 1e-5, **tolerance})

    return check


def one_op(op: Op, types: tuple[TensorType, ...], arrays: list[np.ndarray]) -> tuple[Graph, dict[str, Any]]:
    """Operands that carry the batch are inputs, the others constants."""
    graph, feeds, operands = Graph(), {}, []
    for index, (type, array) in enumerate(zip(types, arrays, strict=True)):
        if any(isinstance(dim, Batch) for dim in type.shape):
            feeds[f"x{index}"] = array
            operands.append(graph.input(f"x{index}", type))
        else:
            operands.append(graph.const(array, f"x{index}"))
    graph.output({"y": graph.add(op, *operands)})
    return graph, feeds
