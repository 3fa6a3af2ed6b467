"""Look up only the slots that somebody reads."""

from __future__ import annotations

import numpy as np
import pytest

from hugectr2onnx.ir.ops.elementwise import Relu
from hugectr2onnx.ir.ops.lookup import Embedding, LocalizedEmbedding, SlotOffset
from hugectr2onnx.ir.ops.shape import Concat, Reshape, Slice, Take
from hugectr2onnx.ir.types import N, i64
from hugectr2onnx.passes.cleanup.prune_slots import prune_slots

TABLE_KEYS, VECTORS = np.arange(50), np.arange(100, dtype=np.float32).reshape(50, 2)


@pytest.fixture
def emb(graph):
    """Five slots of vectors of two."""
    keys = graph.input("k", i64(N, 5, 2))
    return graph.add(
        Embedding("mean"), keys, graph.const(TABLE_KEYS, "e.keys"), graph.const(VECTORS, "e.vectors"), name="e"
    )


def test_slots_that_are_taken(graph, emb, sound, body):
    graph.output({"y": Reshape((N, 4))(Take(1, (3, 1))(emb))})
    assert body(graph) == (
        "%e = embedding(%k, %e.keys, %e.vectors) {combiner=mean} : f32[N, 5, 2]\n"
        "%take = take(%e) {axis=1, indices=[3, 1]} : f32[N, 2, 2]\n"
        "%reshape = reshape(%take) {shape=[N, 4]} : f32[N, 4]\n"
        "return y=%reshape"
    )
    assert sound(prune_slots, graph) == {"prune_slots": 1}
    assert body(graph) == (
        "%take = take(%k) {axis=1, indices=[1, 3]} : i64[N, 2, 2]\n"
        "%e = embedding(%take, %e.keys, %e.vectors) {combiner=mean} : f32[N, 2, 2]\n"
        "%take_2 = take(%e) {axis=1, indices=[1, 0]} : f32[N, 2, 2]\n"
        "%reshape = reshape(%take_2) {shape=[N, 4]} : f32[N, 4]\n"
        "return y=%reshape"
    )


def test_columns_of_the_flattened_slots(graph, emb, sound, body):
    """Columns 3 to 5 are the second number of slot 1 and the first of slot 2."""
    graph.output({"y": Slice(1, 3, 5)(Reshape((N, 10))(emb))})
    assert sound(prune_slots, graph) == {"prune_slots": 1}
    assert body(graph) == (
        "%take = take(%k) {axis=1, indices=[1, 2]} : i64[N, 2, 2]\n"
        "%e = embedding(%take, %e.keys, %e.vectors) {combiner=mean} : f32[N, 2, 2]\n"
        "%reshape = reshape(%e) {shape=[N, 4]} : f32[N, 4]\n"
        "%slice = slice(%reshape) {axis=1, start=1, end=3} : f32[N, 2]\n"
        "return y=%slice"
    )


def test_readers_of_every_kind_together(graph, emb, sound):
    flat = Reshape((N, 10))(emb)
    taken = Reshape((N, 4))(Take(1, (4, 4))(emb))
    sliced = Reshape((N, 2))(Slice(1, 2, 3)(emb))
    graph.output({"y": Concat(1)(taken, sliced, Slice(1, 0, 1)(flat), Slice(1, 9, 10)(flat))})
    assert sound(prune_slots, graph) == {"prune_slots": 1}
    assert graph.inputs[0].uses[0].node.op == Take(1, (0, 2, 4))


def test_offsets_stay_in_front(graph, sound):
    keys = SlotOffset((0, 10, 20))(graph.input("k", i64(N, 3, 1)))
    emb = Embedding("sum")(keys, graph.const(TABLE_KEYS), graph.const(VECTORS))
    graph.output({"y": Take(1, (2,))(emb)})
    assert sound(prune_slots, graph) == {"prune_slots": 1}
    taken = graph.outputs["y"].inputs[0].inputs[0]
    assert taken.op == Take(1, (2,))
    assert taken.inputs[0].op == SlotOffset((0, 10, 20)), "every slot still has the offset of its own number"


def test_offsets_of_the_look_up_go_with_their_slots(graph, sound):
    keys = graph.input("k", i64(N, 3, 1))
    emb = Embedding("sum", offsets=(0, 10, 20))(keys, graph.const(TABLE_KEYS), graph.const(VECTORS))
    graph.output({"y": Take(1, (2, 0))(emb)})
    assert sound(prune_slots, graph) == {"prune_slots": 1}


def test_a_localized_table_keeps_the_numbers_of_its_slots(graph, sound):
    keys = graph.input("k", i64(N, 3, 1))
    operands = (np.arange(50) % 25, VECTORS, np.arange(50) // 25)
    emb = LocalizedEmbedding("sum", n_gpus=2, slots=(0, 1, 2))(keys, *map(graph.const, operands))
    graph.output({"y": Take(1, (1,))(emb)})
    assert sound(prune_slots, graph) == {"prune_slots": 1}
    assert graph.outputs["y"].inputs[0].op == LocalizedEmbedding("sum", n_gpus=2, slots=(1,))


def test_two_look_ups_are_pruned_in_one_run(graph, emb, sound):
    other = Embedding("sum")(graph.inputs[0], graph.const(TABLE_KEYS), graph.const(VECTORS))
    graph.output({"y": Take(1, (0,))(emb), "z": Take(1, (1,))(other)})
    assert sound(prune_slots, graph) == {"prune_slots": 2}


READERS = {
    "all slots, in another order": lambda e: Take(1, (4, 3, 2, 1, 0))(e),
    "an operation that reads them all": lambda e: Relu()(e),
    "the flattened vectors themselves": lambda e: Reshape((N, 10))(e),
    "another operation on the flattened": lambda e: Slice(1, 0, 2)(Relu()(Reshape((N, 10))(e))),
    "a part of each vector": lambda e: Slice(2, 0, 1)(e),
    "samples": lambda e: Take(0, (0, 1))(e),
    "another shape": lambda e: Slice(1, 0, 1)(Reshape((N, 2, 5))(e)),
    "every column": lambda e: Slice(1, 1, 9)(Reshape((N, 10))(e)),
}


@pytest.mark.parametrize("reader", READERS)
def test_not_where_every_slot_is_read(graph, emb, sound, reader):
    graph.output({"y": READERS[reader](emb)})
    assert sound(prune_slots, graph) == {}


def test_not_where_the_flattened_is_an_output_too(graph, emb, sound):
    flat = Reshape((N, 10))(emb)
    graph.output({"y": Slice(1, 0, 2)(flat), "z": flat})
    assert sound(prune_slots, graph) == {}


def test_not_where_one_of_several_readers_needs_all(graph, emb, sound):
    graph.output({"y": Take(1, (0,))(emb), "z": emb})
    assert sound(prune_slots, graph) == {}


def test_not_where_nobody_reads(graph, x, emb):
    graph.output({"y": Relu()(x)})
    assert prune_slots(graph) == {}
