"""Embedding look-ups, against a reference of Python dicts: any int64 key, padding, repeats, empty tables, every key map."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hugectr2onnx.errors import ShapeError
from hugectr2onnx.ir.evaluator import evaluate
from hugectr2onnx.ir.graph import Graph
from hugectr2onnx.ir.ops.key_maps import Direct, LabelEncoded
from hugectr2onnx.ir.ops.lookup import Embedding, LocalizedEmbedding, SlotOffset, rows_of
from hugectr2onnx.ir.ops.perfect_hash import PerfectHash
from hugectr2onnx.ir.types import N, f32, i64
from hugectr2onnx.tables.key_index import KeyColumn, column

MOST, LEAST = 2**63 - 1, -(2**63)
TABLE = {7: [1.0, 2.0], 3: [0.5, -1.0], MOST: [4.0, 8.0], 0: [16.0, 32.0]}
MAPS = (None, "encoded", "hashed")


def arrays(table: dict[int, list[float]], width: int = 2) -> tuple[np.ndarray, np.ndarray]:
    return np.array(list(table), np.int64), np.array(list(table.values()), np.float32).reshape(-1, width)


def pooled(
    table: dict[int, list[float]], keys: np.ndarray, combiner: str, default: float = 0.0, width: int = 2
) -> np.ndarray:
    """The definition (formats 3.2): padding adds nothing and is not counted, a key that is absent counts."""
    result = np.zeros((*keys.shape[:2], width))
    for sample, slot in np.ndindex(keys.shape[:2]):
        present = [int(key) for key in keys[sample, slot] if key >= 0]
        vectors = [table.get(key, [default] * width) for key in present]
        total = np.sum(vectors, 0) if vectors else np.zeros(width)
        result[sample, slot] = total / max(len(present), 1) if combiner == "mean" else total
    return result


def mapped(op: Embedding, table: np.ndarray, kind: str | None) -> Embedding:
    """The look-up with a way from key to row."""
    if kind is None:
        return op
    known = op.known(table)
    key_map = {
        "encoded": lambda: LabelEncoded(),
        "hashed": lambda: PerfectHash.build(*known),
        "direct": lambda: Direct(0, int(known[0].max()), True),
        "direct through rows": lambda: Direct(0, int(known[0].max()), False),
    }[kind]()
    return type(op)(op.combiner, op.default, key_map=key_map, offsets=op.offsets)


def single(op: Embedding, keys: np.ndarray, *constants: np.ndarray) -> tuple[Graph, dict[str, np.ndarray]]:
    graph = Graph()
    k = graph.input("k", i64(N, *keys.shape[1:]))
    graph.output({"y": graph.add(op, k, *map(graph.const, constants))})
    return graph, {"k": keys}


KEYS = {
    "known": [[[7, 3]], [[0, MOST]]],
    "unknown": [[[99, 3]], [[1 << 62, 98]]],
    "padding": [[[-1, 7]], [[-1, -1]]],
    "repeated": [[[7, 7]], [[3, 3]]],
    "the smallest and the largest": [[[LEAST, MOST]], [[MOST, MOST - 1]]],
    "negative keys of any size": [[[-2, -(1 << 40)]], [[LEAST + 1, 7]]],
}


@pytest.mark.parametrize("kind", MAPS)
@pytest.mark.parametrize("default", [0.0, 0.25])
@pytest.mark.parametrize("combiner", ["sum", "mean"])
@pytest.mark.parametrize("what", KEYS)
def test_any_key(on_onnxruntime: Callable[..., dict[str, np.ndarray]], what, combiner, default, kind):
    keys = np.array(KEYS[what], np.int64)
    table_keys, vectors = arrays(TABLE)
    op = mapped(Embedding(combiner, default), table_keys, kind)
    expected = pooled(TABLE, keys, combiner, default)
    np.testing.assert_allclose(op.evaluate(keys, table_keys, vectors), expected, rtol=1e-12)
    found = on_onnxruntime(*single(op, keys, table_keys, vectors))["y"]
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, expected, rtol=1e-6)


@pytest.mark.parametrize("kind", [None, "encoded", "hashed", "direct", "direct through rows"])
@pytest.mark.parametrize("default", [0.0, -1.5])
@pytest.mark.parametrize("combiner", ["sum", "mean"])
@pytest.mark.parametrize("hotness", [1, 3, 12])
@pytest.mark.parametrize("width", [1, 4])
def test_every_way_from_key_to_row(on_onnxruntime, width, hotness, combiner, default, kind):
    random = np.random.default_rng([width, hotness])
    table_keys = random.permutation(40)[:25]
    vectors = random.normal(size=(25, width)).astype(np.float32)
    table = dict(zip(table_keys.tolist(), vectors.astype(np.float64).tolist(), strict=True))
    keys = random.integers(-10, 50, (5, 3, hotness))
    keys[0, 0] = [LEAST, MOST, -1, 1 << 32][:hotness] + [-1] * (hotness - 4)
    op = mapped(Embedding(combiner, default), table_keys, kind)
    expected = pooled(table, keys, combiner, default, width)
    for opset in (17, 21):
        found = on_onnxruntime(*single(op, keys, table_keys, vectors), opset)["y"]
        np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("kind", [None, "encoded", "direct"])
@pytest.mark.parametrize("combiner", ["sum", "mean"])
@pytest.mark.parametrize("hotness", [1, 3, 12])
@pytest.mark.parametrize("width", [1, 4])
def test_the_axis_of_the_keys_may_stay(on_onnxruntime, width, hotness, combiner, kind):
    random = np.random.default_rng(hotness)
    table, vectors = arrays({key: list(random.normal(size=width)) for key in range(3, 40)}, width)
    keys = random.choice([-1, 2, *range(3, 40), 40, 99], (5, 4, hotness))
    op = mapped(Embedding(combiner), table, kind)
    plain, feeds = single(op, keys, table, vectors)
    apart, _ = single(replace(op, apart=True), keys, table, vectors)
    expected = on_onnxruntime(plain, feeds)["y"]
    np.testing.assert_array_equal(on_onnxruntime(apart, feeds)["y"], expected[:, :, None])
    np.testing.assert_array_equal(evaluate(apart, feeds)["y"], evaluate(plain, feeds)["y"][:, :, None])


@pytest.mark.parametrize("kind", [None, "encoded", "hashed"])
@pytest.mark.parametrize("default", [0.0, 0.5])
def test_an_empty_table(on_onnxruntime, default, kind):
    table_keys, vectors = np.zeros(0, np.int64), np.zeros((0, 2), np.float32)
    keys = np.array([[[0, -1]], [[5, LEAST]]])
    op = mapped(Embedding("sum", default), table_keys, kind)
    expected = [[[default] * 2], [[default] * 2]]
    np.testing.assert_array_equal(op.evaluate(keys, table_keys, vectors), expected)
    np.testing.assert_array_equal(on_onnxruntime(*single(op, keys, table_keys, vectors))["y"], expected)


def test_a_table_of_negative_keys_is_never_asked(on_onnxruntime):
    """A negative key is padding, whatever the table holds."""
    table_keys, vectors = arrays({-1: [9.0, 9.0], -7: [9.0, 9.0], 2: [1.0, 2.0]})
    keys = np.array([[[-1, 2]], [[-7, 3]]])
    expected = [[[1, 2]], [[0, 0]]]
    np.testing.assert_array_equal(Embedding("mean").evaluate(keys, table_keys, vectors), expected)
    np.testing.assert_array_equal(on_onnxruntime(*single(Embedding("mean"), keys, table_keys, vectors))["y"], expected)


def test_a_batch_of_none(on_onnxruntime):
    table_keys, vectors = arrays(TABLE)
    keys = np.zeros((0, 3, 2), np.int64)
    assert Embedding("sum").evaluate(keys, table_keys, vectors).shape == (0, 3, 2)
    assert on_onnxruntime(*single(Embedding("sum"), keys, table_keys, vectors))["y"].shape == (0, 3, 2)


int64 = st.integers(LEAST, MOST) | st.integers(-3, 40) | st.sampled_from([MOST, LEAST, -1, 0, 1 << 31, (1 << 32) - 1])
tables = st.dictionaries(int64.filter(lambda key: key >= 0), st.just([1.0, 2.0]), max_size=30)


@settings(max_examples=60, deadline=None, derandomize=True)
@given(tables, st.lists(int64, min_size=6, max_size=6), st.sampled_from(["sum", "mean"]), st.sampled_from([0.0, 0.5]))
def test_random_keys_of_random_tables(table, keys, combiner, default):
    table = {key: [float(i), -float(i)] for i, key in enumerate(table)}
    feed = np.array(keys, np.int64).reshape(1, 3, 2)
    found = Embedding(combiner, default).evaluate(feed, *arrays(table))
    np.testing.assert_allclose(found, pooled(table, feed, combiner, default), rtol=1e-12)


@settings(max_examples=25, deadline=None, derandomize=True)
@given(st.data())
def test_random_keys_on_onnxruntime(on_onnxruntime, data):
    table = {key: [float(i), -float(i)] for i, key in enumerate(data.draw(tables))}
    wanted = st.sampled_from(sorted(table)) | int64 if table else int64
    feed = np.array(data.draw(st.lists(wanted, min_size=6, max_size=6)), np.int64).reshape(3, 1, 2)
    table_keys, vectors = arrays(table)
    kind = data.draw(st.sampled_from(MAPS))
    default = data.draw(st.sampled_from([0.0, 0.5]))
    op = mapped(Embedding("mean", default), table_keys, kind)
    found = on_onnxruntime(*single(op, feed, table_keys, vectors))["y"]
    np.testing.assert_allclose(found, pooled(table, feed, "mean", default), rtol=1e-6)


@settings(max_examples=60, deadline=None, derandomize=True)
@given(st.lists(int64, unique=True, max_size=30), st.lists(int64, max_size=20))
def test_an_index_finds_the_rows_that_a_scan_finds(table, keys):
    known, wanted = np.array(table, np.int64), np.array(keys, np.int64)
    expected = [table.index(key) if key >= 0 and key in table else -1 for key in keys]
    assert rows_of(wanted, known).tolist() == expected
    assert rows_of(wanted, known.view(KeyColumn)).tolist() == expected


def test_what_an_index_knows_of_its_keys():
    keys = column(np.array([5, -3, 9, 7]))
    assert (keys.low, keys.high, keys.count) == (5, 9, 3)
    empty = column(np.array([-3]))
    assert (empty.low, empty.high, empty.count) == (0, -1, 0)


# SlotOffset


def test_offsets_are_added_slot_by_slot_and_not_to_padding():
    keys = np.array([[[3, -1], [3, LEAST]]])
    np.testing.assert_array_equal(SlotOffset((0, 10)).evaluate(keys), [[[3, -1], [13, LEAST]]])


def test_offsets_saturate(on_onnxruntime):
    keys = np.array([[[MOST], [MOST], [MOST - 5]], [[0], [MOST - 10], [-1]]])
    expected = [[[MOST], [MOST], [MOST]], [[0], [MOST], [-1]]]
    op = SlotOffset((0, 10, 7))
    np.testing.assert_array_equal(op.evaluate(keys), expected)
    np.testing.assert_array_equal(on_onnxruntime(*single(op, keys))["y"], expected)


@pytest.mark.parametrize("kind", [None, "encoded", "hashed", "direct", "direct through rows"])
@pytest.mark.parametrize("combiner", ["sum", "mean"])
def test_offsets_of_the_look_up_itself(on_onnxruntime, combiner, kind):
    table_keys, vectors = arrays({key: [key + 1.0, -key] for key in range(20)})
    offsets = (0, 15, 30)
    keys = np.array([[[3, 19, 20, -1]] * 3, [[MOST, LEAST, 0, 4]] * 3])
    plain = mapped(Embedding(combiner), table_keys, kind)
    op = Embedding(combiner, key_map=plain.key_map, offsets=offsets)
    moved = keys.copy()
    for place, key in np.ndenumerate(keys):
        moved[place] = key if key < 0 else min(int(key) + offsets[place[1]], MOST)
    expected = pooled({key: [key + 1.0, -key] for key in range(20)}, moved, combiner)
    np.testing.assert_allclose(op.evaluate(keys, table_keys, vectors), expected)
    if kind is not None:  # the plain look-up has its SlotOffset in front
        found = on_onnxruntime(*single(op, keys, table_keys, vectors))["y"]
        np.testing.assert_allclose(found, expected, rtol=1e-6)


@pytest.mark.parametrize("keys", [i64(N, 3, 1), i64(N, 2), f32(N, 2, 1)], ids=str)
def test_offsets_that_do_not_fit_are_named(keys):
    with pytest.raises(ShapeError, match=r"2 slot offsets cannot be added to keys of [if]"):
        SlotOffset((0, 1)).infer(keys)


# LocalizedEmbedding


def test_the_gpu_of_a_slot_decides_which_row_a_key_means(on_onnxruntime):
    """Two GPUs: slots 0 and 2 live on GPU 0, slot 1 on GPU 1; key 5 was trained on both (formats 2.2)."""
    table_keys, slot_ids = np.array([5, 5, 6, 9]), np.array([0, 1, 2, 1])
    vectors = np.float32([[1, 10], [2, 20], [3, 30], [4, 40]])
    keys = np.array([[[5], [5], [5]], [[6], [6], [9]], [[-1], [9], [77]]])
    op = LocalizedEmbedding("sum", n_gpus=2, slots=(0, 1, 2))
    expected = [[[1, 10], [2, 20], [1, 10]], [[3, 30], [0, 0], [0, 0]], [[0, 0], [4, 40], [0, 0]]]
    np.testing.assert_array_equal(op.evaluate(keys, table_keys, vectors, slot_ids), expected)
    np.testing.assert_array_equal(on_onnxruntime(*single(op, keys, table_keys, vectors, slot_ids))["y"], expected)


@settings(max_examples=25, deadline=None, derandomize=True)
@given(st.data())
def test_localized_tables_against_dicts(on_onnxruntime, data):
    gpus = data.draw(st.integers(1, 3))
    pairs = data.draw(st.lists(st.tuples(int64, st.integers(0, 5)), max_size=20))
    rows = {(key, slot % gpus): (slot, i) for i, (key, slot) in enumerate(pairs)}
    table_keys = np.array([key for key, _ in rows], np.int64)
    slot_ids = np.array([slot for slot, _ in rows.values()], np.int64)
    vectors = np.array([[1.0 + i, -i] for _, i in rows.values()], np.float32).reshape(-1, 2)
    wanted = st.sampled_from([key for key, _ in rows]) | int64 if rows else int64
    keys = np.array(data.draw(st.lists(wanted, min_size=8, max_size=8)), np.int64).reshape(1, 4, 2)
    default = data.draw(st.sampled_from([0.0, 0.5]))
    op = LocalizedEmbedding("mean", default, n_gpus=gpus, slots=(0, 1, 2, 3))
    by_gpu = [{k: [1.0 + i, -i] for (k, g), (_, i) in rows.items() if g == gpu and k >= 0} for gpu in range(gpus)]
    expected = np.concatenate([pooled(by_gpu[s % gpus], keys[:, s : s + 1], "mean", default) for s in range(4)], 1)
    np.testing.assert_allclose(op.evaluate(keys, table_keys, vectors, slot_ids), expected, rtol=1e-12)
    found = on_onnxruntime(*single(op, keys, table_keys, vectors, slot_ids))["y"]
    np.testing.assert_allclose(found, expected, rtol=1e-6)


@pytest.mark.parametrize("kind", ["encoded", "hashed", "direct through rows"])
@pytest.mark.parametrize("default", [0.0, 0.5])
def test_localized_tables_with_every_key_map(on_onnxruntime, default, kind):
    table_keys, slot_ids = np.array([5, 5, 6, 9]), np.array([0, 1, 2, 1])
    vectors = np.float32([[1, 10], [2, 20], [3, 30], [4, 40]])
    keys = np.array([[[5, -1], [5, 9]], [[6, 7], [LEAST, MOST]]])
    plain = LocalizedEmbedding("mean", default, n_gpus=2, slots=(0, 1))
    unique, ids, count = plain.known(table_keys)
    key_map = {
        "encoded": LabelEncoded(),
        "hashed": PerfectHash.build(unique, ids, count),
        "direct through rows": Direct(0, 9, False),
    }[kind]
    op = LocalizedEmbedding("mean", default, key_map=key_map, n_gpus=2, slots=(0, 1))
    d = default
    expected = [[[1, 10], [3, 30]], [[(3 + d) / 2, (30 + d) / 2], [d, d]]]
    np.testing.assert_allclose(plain.evaluate(keys, table_keys, vectors, slot_ids), expected)
    np.testing.assert_allclose(
        on_onnxruntime(*single(op, keys, table_keys, vectors, slot_ids))["y"], expected, rtol=1e-6
    )


def test_some_slots_of_a_look_up_keep_their_numbers_and_offsets():
    op = LocalizedEmbedding("sum", n_gpus=2, slots=(0, 1, 2), offsets=(0, 10, 20)).take_slots([2, 1])
    assert (op.slots, op.offsets, op.n_gpus) == ((2, 1), (20, 10), 2)
    assert Embedding("sum").take_slots([1]) == Embedding("sum")


# Types


KEYS_TYPE, TABLE_KEYS, VECTORS = i64(N, 26, 3), i64(100), f32(100, 16)


def test_the_type_of_a_look_up():
    assert Embedding("sum").infer(KEYS_TYPE, TABLE_KEYS, VECTORS) == f32(N, 26, 16)
    localized = LocalizedEmbedding("sum", slots=tuple(range(26)))
    assert localized.infer(KEYS_TYPE, TABLE_KEYS, VECTORS, TABLE_KEYS) == f32(N, 26, 16)


@pytest.mark.parametrize(
    "types, message",
    [
        ((i64(N, 26), TABLE_KEYS, VECTORS), r"keys must be i64\[N, slot, max_nnz\], not i64\[N, 26\]"),
        ((f32(N, 26, 3), TABLE_KEYS, VECTORS), r"not f32\[N, 26, 3\]"),
        ((KEYS_TYPE, i64(99), VECTORS), r"not f32\[100, 16\] for i64\[99\]"),
        ((KEYS_TYPE, TABLE_KEYS, f32(100)), r"not f32\[100\] for i64\[100\]"),
    ],
)
def test_look_ups_that_do_not_fit_are_named(types, message):
    with pytest.raises(ShapeError, match=message):
        Embedding("sum").infer(*types)


def test_localized_look_ups_that_do_not_fit_are_named():
    with pytest.raises(ShapeError, match=r"keys of i64\[N, 26, 3\] for 2 slots, i64\[100\] slot ids for i64\[100\]"):
        LocalizedEmbedding("sum", slots=(0, 1)).infer(KEYS_TYPE, TABLE_KEYS, VECTORS, TABLE_KEYS)
