"""Inputs that take rows instead of keys: what fires, what is refused, and what the rows mean."""

from __future__ import annotations

import numpy as np
import pytest

from hugectr2onnx.errors import UnsupportedError
from hugectr2onnx.ir.evaluator import evaluate
from hugectr2onnx.ir.graph import Graph, Value
from hugectr2onnx.ir.ops.lookup import MAX_KEY, Embedding, SlotOffset
from hugectr2onnx.ir.ops.shape import Reshape
from hugectr2onnx.ir.printer import print_graph
from hugectr2onnx.ir.types import N, i64
from hugectr2onnx.passes.lookups.row_number_inputs import row_number_inputs

KEYS = np.array([70, 9, 1 << 40])
VECTORS = np.float32([[1, 2], [3, 4], [5, 6]])


class Model:
    """Look-ups of one or two tables, each named by its top."""

    def __init__(self) -> None:
        self.graph = Graph("g")
        self.input = self.graph.input("k", i64(N, 2, 1))
        self.table = self.new_table("t")
        self.tops: dict[str, Value] = {}

    def new_table(self, name: str) -> tuple[Value, Value]:
        return self.graph.const(KEYS.copy(), f"{name}.keys"), self.graph.const(VECTORS, f"{name}.vectors")

    def look_up(self, top: str, keys: Value, table: tuple[Value, Value] | None = None) -> None:
        with self.graph.building(top):
            self.tops[top] = Embedding("sum")(keys, *(table or self.table))

    def done(self) -> Graph:
        self.graph.output(self.tops)
        return self.graph


def test_the_keys_of_a_table_become_row_numbers() -> None:
    model = Model()
    model.look_up("e", SlotOffset((0, 7))(model.input))
    graph = model.done()
    (entry,) = row_number_inputs(graph, "indices")
    assert (entry.input, entry.table, entry.keys.tolist(), entry.offsets) == ("k", "e", KEYS.tolist(), (0, 7))
    assert print_graph(graph) == (
        "graph @g {\n"
        "  %k = input() : i64[N, 2, 1]\n"
        "  %embedding = embedding(%k, %t.keys.rows, %t.vectors) {combiner=sum} : f32[N, 2, 2]\n"
        "  return e=%embedding\n"
        "}"
    )
    found = evaluate(graph, {"k": np.array([[[2], [-1]], [[0], [3]]])})["e"]
    np.testing.assert_array_equal(found, [[[5, 6], [0, 0]], [[1, 2], [0, 0]]])


def test_look_ups_of_one_table_take_the_same_rows_and_may_reshape_them() -> None:
    model = Model()
    model.look_up("one", model.input)
    model.look_up("two", Reshape((N, 1, 2))(model.input))
    graph = model.done()
    assert [entry.table for entry in row_number_inputs(graph, "indices")] == ["one"]
    found = evaluate(graph, {"k": np.array([[[2], [0]]])})
    np.testing.assert_array_equal(found["one"], [[[5, 6], [1, 2]]])
    np.testing.assert_array_equal(found["two"], [[[6, 8]]])


def test_offsets_one_after_the_other_are_added_and_saturate() -> None:
    model = Model()
    model.look_up("e", Reshape((N, 1, 2))(SlotOffset((5, MAX_KEY))(SlotOffset((1, 1))(model.input))))
    graph = model.done()
    (entry,) = row_number_inputs(graph, "indices")
    assert entry.offsets == (6, MAX_KEY)
    assert "slot_offset" not in print_graph(graph)


def refused(model: Model, why: str, keys: object = "indices") -> None:
    before = print_graph(model.done())
    with pytest.raises(UnsupportedError, match=f"one cannot have keys='indices': .*{why}"):
        row_number_inputs(model.graph, keys)  # type: ignore[arg-type]
    assert print_graph(model.graph) == before


def test_a_look_up_that_keeps_its_keys_cannot_read_rows() -> None:
    model = Model()
    model.look_up("one", model.input)
    model.look_up("two", Reshape((N, 1, 2))(model.input))
    refused(model, "its input k feeds two too, which takes keys", {"one": "indices"})


def test_rows_of_another_table_are_others() -> None:
    model = Model()
    model.look_up("one", model.input)
    model.look_up("two", model.input, model.new_table("u"))
    refused(model, "its input k feeds two too, whose rows are others")


def test_rows_with_other_offsets_are_others() -> None:
    model = Model()
    model.look_up("one", model.input)
    model.look_up("two", SlotOffset((0, 1))(model.input))
    refused(model, "feeds two too, whose rows are others")


def test_nothing_else_may_read_the_keys() -> None:
    model = Model()
    model.look_up("one", model.input)
    model.tops["same"] = model.input
    refused(model, "output reads its keys too")


def test_keys_that_are_worked_out_are_no_input() -> None:
    model = Model()
    with model.graph.building("one"):
        model.tops["one"] = Embedding("sum")(model.graph.const(np.array([[[1], [2]]])), *model.table)
    refused(model, "its keys are no input of the model")
