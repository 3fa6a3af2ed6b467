"""Look-ups on compressed sparse rows: what they become, and that they give what padded keys give."""

from __future__ import annotations

import numpy as np
import pytest

from hugectr2onnx.errors import PassError
from hugectr2onnx.ir.evaluator import evaluate
from hugectr2onnx.ir.graph import Graph, Value
from hugectr2onnx.ir.ops.lookup import Embedding, LocalizedEmbedding, SlotOffset
from hugectr2onnx.ir.ops.requests import PadKeys, csr_types
from hugectr2onnx.ir.ops.shape import Concat, Slice, Take
from hugectr2onnx.ir.printer import print_graph
from hugectr2onnx.ir.types import N, i64
from hugectr2onnx.passes.lookups.flatten_keys import flatten_keys
from hugectr2onnx.tables.key_index import signed_column

KEYS = np.array([70, 9, 12, 0, -1])
VECTORS = np.float32([[1, 2], [4, 8], [16, 32], [64, 128], [256, 512]])
FEEDS = {"k": np.array([70, 9, 9, 5, 2, -1, 0]), "k.offsets": np.array([0, 1, 3, 3, 4, 6, 7])}
"""Slots of three samples: [70] [9 9], [] [5], [2 -1] [0]."""


class Model:
    """Look-ups on the keys of two slots."""

    def __init__(self, padding_key: int | None = None) -> None:
        self.graph = Graph("g")
        keys, offsets = (self.graph.input(n, t) for n, t in zip(("k", "k.offsets"), csr_types("k"), strict=True))
        self.padded = PadKeys(2, 2, "k", padding_key)(keys, offsets)
        keys_of_table = KEYS if padding_key is None else signed_column(KEYS)
        self.table = self.graph.const(keys_of_table, "t.keys"), self.graph.const(VECTORS, "t.vectors")

    def done(self, **tops: Value) -> Graph:
        self.graph.output(tops)
        return self.graph


def check_flattened(graph: Graph, expected: list[list[list[float]]]) -> None:
    """The only look-up is flattened, and its answers by hand are those before and after."""
    np.testing.assert_array_equal(evaluate(graph, FEEDS)["e"], expected)
    assert flatten_keys(graph) == 1
    np.testing.assert_array_equal(evaluate(graph, FEEDS)["e"], expected)
    assert "pad_keys" not in print_graph(graph)


def test_a_look_up_takes_the_keys_one_by_one() -> None:
    model = Model()
    check_flattened(
        model.done(e=Embedding("sum")(model.padded, *model.table)),
        [[[1, 2], [8, 16]], [[0, 0]] * 2, [[0, 0], [64, 128]]],
    )
    assert print_graph(model.graph).count("flat_keys(%k)") == 1
    assert "key_slots" not in print_graph(model.graph)


def test_the_mean_counts_the_keys_that_are_no_padding() -> None:
    model = Model()
    check_flattened(
        model.done(e=Embedding("mean")(model.padded, *model.table)),
        [[[1, 2], [4, 8]], [[0, 0]] * 2, [[0, 0], [64, 128]]],
    )


def test_offsets_are_added_by_slot() -> None:
    """70 + 0; 9 + 3 twice; 5 + 3; 2 + 0 and padding; 0 + 3."""
    model = Model()
    moved = SlotOffset((0, 3))(model.padded)
    check_flattened(
        model.done(e=Embedding("sum")(moved, *model.table)), [[[1, 2], [32, 64]], [[0, 0]] * 2, [[0, 0]] * 2]
    )


def test_offsets_one_after_the_other_are_added_up() -> None:
    """2 + 10 is a key; 70 + 10 is none."""
    model = Model()
    moved = SlotOffset((4, 0))(SlotOffset((6, 0))(model.padded))
    check_flattened(
        model.done(e=Embedding("sum")(moved, *model.table)), [[[0, 0], [8, 16]], [[0, 0]] * 2, [[16, 32], [64, 128]]]
    )


def test_negative_keys_are_keys_where_another_one_is_padding() -> None:
    model = Model(padding_key=0)
    embedding = Embedding("mean", padding_key=0)
    check_flattened(
        model.done(e=embedding(model.padded, *model.table)),
        [[[1, 2], [4, 8]], [[0, 0]] * 2, [[128, 256], [0, 0]]],
    )


def test_a_key_that_its_offset_makes_the_padding_key_is_a_key() -> None:
    """-1 + 1 is 0, a key of the table; 0 itself is padding. 9 + 3 is a key twice."""
    model = Model(padding_key=0)
    embedding = Embedding("sum", padding_key=0, offsets=(1, 3))
    check_flattened(
        model.done(e=embedding(model.padded, *model.table)),
        [[[0, 0], [32, 64]], [[0, 0]] * 2, [[64, 128], [0, 0]]],
    )


@pytest.mark.parametrize("some", [Take(1, (1, 0)), Slice(1, 1, 2)], ids=["take", "slice"])
def test_some_slots_alone(some: Take | Slice) -> None:
    both = [[[1, 2], [8, 16]], [[0, 0], [0, 0]], [[0, 0], [64, 128]]]
    places = some.indices if isinstance(some, Take) else range(some.start, some.end)
    model = Model()
    check_flattened(
        model.done(e=Embedding("sum")(some(model.padded), *model.table)),
        [[sample[place] for place in places] for sample in both],
    )


def test_a_localized_table_knows_the_slot_of_each_key() -> None:
    model = Model()
    slot_of_row = model.graph.const(np.array([0, 1, 0, 0, 0]), "t.slots")
    embedding = LocalizedEmbedding("sum", slots=(0, 1))
    graph = model.done(e=embedding(model.padded, *model.table, slot_of_row))
    expected = evaluate(graph, FEEDS)["e"]
    assert flatten_keys(graph) == 1
    np.testing.assert_array_equal(evaluate(graph, FEEDS)["e"], expected)
    assert "key_slots" in print_graph(graph)


def test_padded_inputs_stay_padded() -> None:
    graph = Graph("g")
    keys = graph.input("k", i64(N, 2, 1))
    table = graph.const(KEYS, "t.keys"), graph.const(VECTORS, "t.vectors")
    graph.output({"e": Embedding("sum")(keys, *table)})
    before = print_graph(graph)
    assert flatten_keys(graph) == 0
    assert print_graph(graph) == before


def test_keys_that_were_moved_in_another_way_are_a_defect() -> None:
    model = Model()
    joined = Concat(1)(model.padded, model.padded)
    model.done(e=Embedding("sum")(joined, *model.table))
    with pytest.raises(PassError, match="keys in compressed sparse rows cannot go through concat"):
        flatten_keys(model.graph)
