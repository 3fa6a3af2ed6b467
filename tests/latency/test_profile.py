from __future__ import annotations

import pytest

from hugectr2onnx.latency.profile import summarise


def event(node: str, op: str, microseconds: int) -> dict[str, object]:
    return {"cat": "Node", "name": f"{node}_kernel_time", "dur": microseconds, "args": {"op_name": op}}


def test_times_are_summed_by_operator() -> None:
    found = summarise([event("a", "Gemm", 6), event("b", "Gemm", 3), event("c", "Relu", 1)], runs=1)
    assert found.by_op == {"Gemm": 9.0, "Relu": 1.0}
    assert found.shares == pytest.approx({"Gemm": 0.9, "Relu": 0.1})
    assert found.nodes == 3


def test_first_runs_only_warm_up() -> None:
    found = summarise([event("a", "Gemm", time) for time in (900, 5, 6, 7)], runs=3)
    assert found.by_node == {("a", "Gemm"): 6}


def test_one_interrupted_run_does_not_count() -> None:
    found = summarise([event("a", "Gemm", time) for time in (5, 900, 5)], runs=3)
    assert found.by_op == {"Gemm": 5}


def test_slowest_nodes_come_first() -> None:
    found = summarise([event("a", "Gemm", 1), event("b", "Relu", 9), event("c", "Add", 4)], runs=1)
    assert found.slowest(2) == [("b", "Relu", 9), ("c", "Add", 4)]


def test_events_that_are_no_node_are_left_out() -> None:
    events = [{"cat": "Session", "name": "model_run", "dur": 50, "args": {}}, event("a", "Gemm", 1)]
    events.append({"cat": "Node", "name": "a_fence_before", "dur": 7, "args": {"op_name": "Gemm"}})
    assert summarise(events, runs=1).by_op == {"Gemm": 1}
