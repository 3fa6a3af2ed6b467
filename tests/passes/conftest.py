"""What the tests of passes share: a graph of one sample interface, and the proof that a pass kept what it computes."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import pytest

from hugectr2onnx.backend.onnx.emitter import emit
from hugectr2onnx.backend.runtime import sessions
from hugectr2onnx.ir.evaluator import evaluate
from hugectr2onnx.ir.feeds import feeds_for
from hugectr2onnx.ir.graph import Graph, Value
from hugectr2onnx.ir.types import N, f32
from hugectr2onnx.ir.verifier import verify
from hugectr2onnx.passes.rewriter import Fires

Sound = Callable[..., Fires]
Prove = Callable[..., Fires]


@pytest.fixture
def graph() -> Graph:
    return Graph("g")


@pytest.fixture
def x(graph: Graph) -> Value:
    return graph.input("x", f32(N, 4))


@pytest.fixture
def sound() -> Sound:
    """Run a pass and check what every pass must keep: the answers, the interface, the invariants; and that it settles."""

    def run(each: Callable[[Graph], Fires], graph: Graph, *, tolerance: float = 0.0) -> Fires:
        feeds = feeds_for(graph, 6, 0)
        before = evaluate(graph, feeds)
        interface = [(v.node.name, v.type) for v in graph.inputs], [(n, v.type) for n, v in graph.outputs.items()]
        fires = each(graph)
        verify(graph)
        assert (
            [(v.node.name, v.type) for v in graph.inputs],
            [(n, v.type) for n, v in graph.outputs.items()],
        ) == interface
        for name, array in evaluate(graph, feeds).items():
            if tolerance:
                np.testing.assert_allclose(array, before[name], rtol=tolerance, atol=tolerance)
            else:
                np.testing.assert_array_equal(array, before[name])
        text = str(graph)
        assert each(graph) == {}
        assert str(graph) == text
        return fires

    return run


@pytest.fixture
def body() -> Callable[[Graph], str]:
    """The IR text without the frame, the inputs and the indentation."""

    def lines(graph: Graph) -> str:
        return "\n".join(line.strip() for line in str(graph).splitlines()[1:-1] if " = input()" not in line)

    return lines


@pytest.fixture
def apply_pass() -> Callable[[Graph, Callable[[Graph], Fires]], str]:
    """Run a pass that must fire, keep the answers within 1e-5, run on onnxruntime and settle; gives the IR text's body."""

    def run(graph: Graph, each: Callable[[Graph], Fires]) -> str:
        feeds = feeds_for(graph, 6, 0)
        before = evaluate(graph, feeds)
        assert each(graph)
        verify(graph)
        artifact = emit(graph, graph_name="test", opset=17, version="0", metadata={})
        found = sessions.run(sessions.session(artifact), feeds)
        for name, array in evaluate(graph, feeds).items():
            np.testing.assert_allclose(array, before[name], rtol=1e-5, atol=1e-5)
            np.testing.assert_allclose(found[name], before[name], rtol=1e-4, atol=1e-4)
        text = "\n".join(line.strip() for line in str(graph).splitlines()[1:-1])
        assert not each(graph)
        return text

    return run


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
            single = evaluate(before, feeds, precision=np.float32)
            _compare(evaluate(graph, feeds), expected, single, rtol)
            _compare(_on_onnxruntime(graph, feeds), expected, single, max(rtol, 2e-5))
        return fires

    return run


def _feeds(graph: Graph, batch: int, reach: float) -> dict[str, np.ndarray]:
    rng = np.random.default_rng(batch)
    return {v.node.name: rng.uniform(-reach, reach, v.type.concrete(batch)).astype(np.float32) for v in graph.inputs}


def _compare(
    found: dict[str, np.ndarray], expected: dict[str, np.ndarray], single: dict[str, np.ndarray], rtol: float
) -> None:
    """Allow rtol, and what float32 makes of the graph as it was: it may round masked scores either way."""
    assert list(found) == list(expected)
    for name, array in expected.items():
        allowed = rtol * (np.abs(array) + np.abs(array).max() + 1) + 2 * np.abs(single[name] - array)
        assert (np.abs(found[name] - array) <= allowed).all(), f"{name}: {found[name]} instead of {array}"


def _on_onnxruntime(graph: Graph, feeds: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    return sessions.run(sessions.session(emit(graph, graph_name="test", opset=17, version="0", metadata={})), feeds)


@pytest.fixture
def lines() -> Callable[[Graph], list[str]]:
    """The operations of a graph as text, inputs and the return apart."""

    def text(graph: Graph) -> list[str]:
        return [line.strip() for line in str(graph).splitlines()[1:-2] if "= input()" not in line]

    return text
