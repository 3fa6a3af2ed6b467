"""The reference interpreter."""

from __future__ import annotations

import numpy as np
import pytest

from hugectr2onnx.errors import CompilerError
from hugectr2onnx.ir.evaluator import evaluate, evaluate_values
from hugectr2onnx.ir.graph import Graph
from hugectr2onnx.ir.ops.elementwise import Relu
from hugectr2onnx.ir.ops.lookup import Embedding
from hugectr2onnx.ir.ops.structural import Identity
from hugectr2onnx.ir.types import N, f32, i64

X = np.array([[1, -2], [3, 4]], np.float32)


def test_outputs_by_name_in_order():
    graph = Graph()
    x = graph.input("x", f32(N, 2))
    graph.output({"b": Relu()(x), "a": x + x})
    answers = evaluate(graph, {"x": X})
    assert list(answers) == ["b", "a"]
    np.testing.assert_array_equal(answers["b"], [[1, 0], [3, 4]])
    np.testing.assert_array_equal(answers["a"], [[2, -4], [6, 8]])


@pytest.mark.parametrize("precision", [np.float32, np.float64])
def test_everything_is_computed_in_one_precision(precision):
    graph = Graph()
    x = graph.input("x", f32(N, 2))
    keys = graph.input("k", i64(N, 1, 1))
    table = Embedding("mean")(keys, graph.const(np.array([5])), graph.const(np.float32([[1, 2]])))
    graph.output({"y": x * graph.const(np.float32([0.1, 0.2])), "e": table, "k": Identity()(keys)})
    answers = evaluate(graph, {"x": X, "k": np.array([[[5]], [[6]]])}, precision=precision)
    assert answers["y"].dtype == answers["e"].dtype == precision
    assert answers["k"].dtype == np.int64
    np.testing.assert_array_equal(answers["y"], X.astype(precision) * np.float32([0.1, 0.2]).astype(precision))


def test_any_value_can_be_asked_for():
    graph = Graph()
    x = graph.input("x", f32(N, 2))
    inner = x + 1
    graph.output({"y": Relu()(inner)})
    (found,) = evaluate_values(graph, [inner], {"x": X})
    np.testing.assert_array_equal(found, [[2, -1], [4, 5]])


def test_overflow_is_no_warning():
    graph = Graph()
    x = graph.input("x", f32(N, 2))
    graph.output({"y": x * np.float32(3e38)})
    assert np.isinf(evaluate(graph, {"x": X * 100}, precision=np.float32)["y"]).all()


def test_an_input_that_was_not_fed():
    graph = Graph()
    graph.output({"x": graph.input("x", f32(N, 2))})
    with pytest.raises(CompilerError, match="input x was not fed"):
        evaluate(graph, {})


def test_tables_are_read_where_they_lie():
    """A table is neither copied nor converted: its rows are."""

    class Untouched(np.ndarray):
        def astype(self, *_: object, **__: object) -> np.ndarray:
            raise AssertionError("the whole table was converted")

    table = np.arange(8, dtype=np.float32).reshape(4, 2).view(Untouched)
    graph = Graph()
    keys = graph.input("k", i64(N, 1, 1))
    graph.output({"e": Embedding("sum")(keys, graph.const(np.arange(4)), graph.const(table))})
    np.testing.assert_array_equal(evaluate(graph, {"k": np.array([[[2]]])})["e"], [[[4, 5]]])
