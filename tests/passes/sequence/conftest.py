"""What every pass of this folder has to prove about a graph that it changes."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence

import numpy as np
import pytest

from hugectr2onnx.backend.onnx.emitter import emit
from hugectr2onnx.ir.evaluator import evaluate
from hugectr2onnx.ir.graph import Graph
from hugectr2onnx.ir.verifier import verify
from hugectr2onnx.passes.rewriter import Fires

os.environ["ORT_DISABLE_TELEMETRY"] = "1"
Prove = Callable[..., Fires]


@pytest.fixture
def prove() -> Prove:
    """Run a pass: same interface, same values (also on onnxruntime), nothing left to do; returns what fired."""

    def run(
        graph: Graph,
        run_pass: Callable[[Graph], Fires],
        *,
        reach: float = 1.0,
        rtol: float = 2e-6,
        batches: Sequence[int] = (1, 2, 5),
    ) -> Fires:
        before = graph.clone()
        fires = run_pass(graph)
        verify(graph)
        assert not run_pass(graph)
        assert [v.node.name for v in graph.inputs] == [v.node.name for v in before.inputs]
        for batch in batches:
            feeds = _feeds(graph, batch, reach)
            expected = evaluate(before, feeds)
            _compare(evaluate(graph, feeds), expected, rtol)
            _compare(_on_onnxruntime(graph, feeds), expected, max(rtol, 2e-5))
        return fires

    return run


def _feeds(graph: Graph, batch: int, reach: float) -> dict[str, np.ndarray]:
    rng = np.random.default_rng(batch)
    return {v.node.name: rng.uniform(-reach, reach, v.type.concrete(batch)).astype(np.float32) for v in graph.inputs}


def _compare(found: dict[str, np.ndarray], expected: dict[str, np.ndarray], rtol: float) -> None:
    assert list(found) == list(expected)
    for name, array in expected.items():
        np.testing.assert_allclose(found[name], array, rtol=rtol, atol=rtol * (np.abs(array).max() + 1))


def _on_onnxruntime(graph: Graph, feeds: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    import onnxruntime

    model = emit(graph, graph_name="test", opset=17, version="0", metadata={}).inline()
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    session = onnxruntime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
    names = list(graph.outputs)
    return dict(zip(names, session.run(names, feeds), strict=True))


@pytest.fixture
def lines() -> Callable[[Graph], list[str]]:
    """The operations of a graph as text, inputs and the return apart."""

    def text(graph: Graph) -> list[str]:
        return [line.strip() for line in str(graph).splitlines()[1:-2] if "= input()" not in line]

    return text
