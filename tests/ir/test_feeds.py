"""Random inputs that exercise a graph."""

from __future__ import annotations

from fractions import Fraction

import numpy as np

from hugectr2onnx.ir.feeds import EXTREMES, fed_values, feeds_for, request, smallest_batch
from hugectr2onnx.ir.graph import Graph
from hugectr2onnx.ir.ops.lookup import Embedding, SlotOffset
from hugectr2onnx.ir.ops.requests import PadKeys, SplitTables, csr_types
from hugectr2onnx.ir.ops.shape import Reshape, Slice, Take
from hugectr2onnx.ir.types import DType, N, TensorType, Width, f32, i64, scale


def looked_up(keys, table, name=""):
    return Embedding("sum")(
        keys, keys.graph.const(np.array(table)), keys.graph.const(np.zeros((len(table), 1), np.float32))
    )


def test_the_same_seed_gives_the_same_feeds():
    graph = Graph()
    graph.input("x", f32(N, 3))
    graph.input("k", i64(N, 2, 2))
    one, two, three = feeds_for(graph, 4, 1), feeds_for(graph, 4, 1), feeds_for(graph, 4, 2)
    assert list(one) == ["x", "k"]
    for name, array in one.items():
        np.testing.assert_array_equal(array, two[name])
        assert not np.array_equal(array, three[name])


def test_types_and_shapes_are_those_of_the_interface():
    graph = Graph()
    graph.input("x", f32(scale(N, 2), 3))
    graph.input("k", i64(N, 2, 5))
    graph.input("fixed", f32(7))
    feeds = feeds_for(graph, 4, 0)
    assert {name: (a.dtype.name, a.shape) for name, a in feeds.items()} == {
        "x": ("float32", (8, 3)),
        "k": ("int64", (4, 2, 5)),
        "fixed": ("float32", (7,)),
    }


def test_keys_are_known_unknown_padding_extreme_and_repeated():
    graph = Graph()
    keys = graph.input("k", i64(N, 2, 4))
    table = [5, 1 << 50, 9]
    graph.output({"e": looked_up(keys, table)})
    fed = feeds_for(graph, 500, 0)["k"]
    known = np.isin(fed, table)
    assert 0.5 < known.mean() < 0.95
    assert all((fed == key).any() for key in (*table, -1, *EXTREMES))
    assert (~known & (fed >= 0)).any()
    assert (fed == fed[..., :1]).all(-1).mean() > 0.1


def test_offsets_are_taken_off_the_keys_of_the_table():
    graph = Graph()
    keys = graph.input("k", i64(N, 2, 1))
    graph.output({"e": looked_up(SlotOffset((0, 100))(keys), [3, 103])})
    fed = feeds_for(graph, 200, 0)["k"]
    assert (fed[:, 0] == 103).any()
    assert (fed[:, 1] == 3).mean() > 0.5
    assert not (fed[:, 1] == 103).any()


def test_each_slot_gets_the_keys_of_the_table_that_reads_it():
    graph = Graph()
    keys = graph.input("k", i64(N, 3, 1))
    graph.output({"a": looked_up(Slice(1, 0, 1)(keys), [1111]), "b": looked_up(Take(1, (2,))(keys), [2222])})
    fed = feeds_for(graph, 100, 0)["k"]
    assert (fed[:, 0] == 1111).mean() > 0.5
    assert (fed[:, 2] == 2222).mean() > 0.5
    assert not np.isin(fed[:, 1], [1111, 2222]).any()


def test_an_empty_table_and_one_of_negative_keys():
    graph = Graph()
    keys = graph.input("k", i64(N, 1, 1))
    empty = Embedding("sum")(keys, graph.const(np.zeros(0, np.int64)), graph.const(np.zeros((0, 1), np.float32)))
    graph.output({"a": empty, "b": looked_up(keys, [-5, -6])})
    assert feeds_for(graph, 50, 0)["k"].shape == (50, 1, 1)


def test_a_large_table_is_sampled_with_its_first_and_last_key():
    graph = Graph()
    keys = graph.input("k", i64(N, 1, 1))
    graph.output({"e": looked_up(keys, np.arange(100_000) * 3)})
    fed = feeds_for(graph, 2000, 0)["k"]
    assert np.isin(fed, np.arange(100_000) * 3).mean() > 0.5


def test_the_smallest_batch_makes_every_dimension_whole():
    graph = Graph()
    x = graph.input("x", f32(N, 2))
    graph.output({"a": Reshape((scale(N, Fraction(1, 2)), 4))(x), "b": Reshape((scale(N, Fraction(1, 3)), 6))(x)})
    assert smallest_batch(graph) == 6


def test_the_smallest_batch_has_the_samples_that_are_taken():
    graph = Graph()
    x = graph.input("x", f32(N, 2))
    graph.output({"a": Take(0, (0, 4))(x)})
    assert smallest_batch(graph) == 5


def test_samples_taken_of_a_folded_batch():
    graph = Graph()
    x = graph.input("x", f32(N, 2))
    graph.output({"a": Take(0, (0, 4))(Reshape((scale(N, 2), 1))(x))})
    assert smallest_batch(graph) == 3


def test_without_a_batch_one_is_enough():
    graph = Graph()
    graph.output({"a": graph.input("x", f32(3, 2))})
    assert smallest_batch(graph) == 1


def joined_tables() -> Graph:
    """Keys of two tables in one input, of which only the second is looked up."""
    graph = Graph()
    keys = graph.input("keys", i64(Width(1, "K")))
    offsets = graph.input("offsets", TensorType(DType.I32, (Width(1, "O"),)))
    parts = SplitTables((2, 1), ("a", "b"))(keys, offsets).node.results
    graph.output({"e": looked_up(PadKeys(1, 3, "b")(*parts[2:]), [5])})
    return graph


def test_the_keys_of_a_request_are_fed_as_look_ups_take_them():
    (padded,) = fed_values(joined_tables())
    assert isinstance(padded.op, PadKeys)


def test_tables_that_nothing_reads_get_no_keys():
    graph = joined_tables()
    (padded,) = fed_values(graph)
    made = request(graph, {padded: np.array([[[5, 7]], [[-1, -1]]])}, 2)
    assert {name: array.tolist() for name, array in made.items()} == {
        "keys": [5, 7],
        "offsets": [0, 0, 0, 0, 0, 0, 2, 2],
    }


def test_a_whole_request_sends_padding_too():
    graph = Graph()
    keys, offsets = (graph.input(name, type) for name, type in zip(("k", "o"), csr_types("k"), strict=True))
    graph.output({"e": looked_up(PadKeys(1, 2, "k")(keys, offsets), [5])})
    (padded,) = fed_values(graph)
    made = request(graph, {padded: np.array([[[5, -1]], [[-1, -1]]])}, 2, whole=True)
    assert {name: array.tolist() for name, array in made.items()} == {"k": [5, -1, -1, -1], "o": [0, 2, 4]}
