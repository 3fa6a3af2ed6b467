"""How keys find their rows: chosen from the keys, said with a reason, and every strategy gives bit-equal rows."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hugectr2onnx.backend.onnx.artifact import Artifact
from hugectr2onnx.backend.onnx.emitter import emit
from hugectr2onnx.backend.runtime import sessions
from hugectr2onnx.errors import OptionError, UnsupportedError
from hugectr2onnx.ir.evaluator import evaluate
from hugectr2onnx.ir.graph import Graph
from hugectr2onnx.ir.ops.elementwise import Relu
from hugectr2onnx.ir.ops.lookup import Embedding, LocalizedEmbedding, SlotOffset
from hugectr2onnx.ir.types import N, i64
from hugectr2onnx.ir.verifier import verify
from hugectr2onnx.passes.lookups.choose_key_map import check_strategies, choose_key_map, expect_key_maps
from hugectr2onnx.passes.lookups.strategies import hash_bytes
from hugectr2onnx.tables.key_index import column

MOST, LEAST = 2**63 - 1, -(2**63)
FORCED = ("direct", "label-encoder", "perfect-hash")


def model(
    keys: Sequence[int] | np.ndarray,
    *,
    shape: tuple[int, int] = (1, 3),
    width: int = 2,
    combiner: str = "sum",
    default: float = 0.0,
    offsets: tuple[int, ...] = (),
) -> Graph:
    graph = Graph("g")
    asked = graph.input("k", i64(N, *shape))
    table = column(np.array(keys, np.int64))
    vectors = np.random.default_rng(0).normal(size=(len(table), width)).astype(np.float32)
    with graph.building("emb"):
        moved = SlotOffset(offsets)(asked) if offsets else asked
        value = Embedding(combiner, default)(moved, graph.const(table, "keys"), graph.const(vectors, "vectors"))
    graph.output({"e": value})
    return graph


def artifact(graph: Graph, opset: int = 17) -> Artifact:
    return emit(graph, graph_name="g", opset=opset, version="0", metadata={})


def run(graph: Graph, keys: np.ndarray, opset: int = 17) -> np.ndarray:
    return sessions.run(sessions.session(artifact(graph, opset)), {"k": keys})["e"]


def chosen(graph: Graph, keys: str | Mapping[str, str] = "auto") -> str:
    (choice,) = choose_key_map(graph, keys)
    verify(graph)
    return choice.strategy


def test_dense_keys_are_direct_and_their_rows_reordered() -> None:
    graph = model([2, 0, 1], shape=(1, 1))
    (choice,) = choose_key_map(graph)
    assert choice.why == "3 keys fill 100% of the range 0 to 2: rows in the order of the keys"
    assert str(graph).splitlines()[2] == (
        "  %embedding = embedding(%k, %keys, %vectors) {combiner=sum, key_map=direct[0, 2]} : f32[N, 1, 2]"
    )
    np.testing.assert_array_equal(run(graph, np.array([[[1]]])), run(model([2, 0, 1], shape=(1, 1)), np.array([[[1]]])))


def test_one_key_a_slot_takes_one_gather_and_no_reduction() -> None:
    graph = model(range(100), shape=(4, 1))
    choose_key_map(graph)
    assert [node.op_type for node in artifact(graph).skeleton.graph.node] == ["Clip", "Reshape", "Gather"]


def test_offset_keys_are_counted_from_the_lowest() -> None:
    graph = model(10**12 + np.arange(1000))
    assert chosen(graph) == "direct"
    assert "key_map=direct[1000000000000, 1000000000999]" in str(graph)


def test_rows_are_not_blown_up_for_missing_numbers() -> None:
    """400,000 numbers for 100,000 keys: 4 bytes for each number instead of a row of 512."""
    graph = model(np.arange(100_000) * 4, width=128)
    (choice,) = choose_key_map(graph)
    assert choice.strategy == "direct"
    assert choice.map_bytes == 4 * 399_997
    assert "through rows" in str(graph)


@pytest.mark.parametrize(
    ("keys", "strategy"),
    [
        (np.arange(1000) << 40, "label-encoder"),
        (np.arange(400_000) << 40, "label-encoder"),
        (np.arange(400_001) << 40, "perfect-hash"),
        ([], "label-encoder"),
        ([5], "direct"),
        ([-5], "label-encoder"),
    ],
)
def test_what_is_chosen(keys: np.ndarray, strategy: str) -> None:
    assert chosen(model(keys)) == strategy


def test_a_default_vector_needs_a_range_from_zero() -> None:
    assert chosen(model(10**12 + np.arange(1000), default=0.5)) == "label-encoder"
    assert chosen(model(5 + np.arange(1000), default=0.5)) == "direct"


def test_slot_offsets_fold_into_a_direct_look_up() -> None:
    graph = model(range(20), shape=(2, 1), offsets=(0, 10))
    choose_key_map(graph)
    assert "slot_offset" not in str(graph)
    keys = np.array([[[3], [4]], [[-1], [9]], [[MOST], [MOST]], [[LEAST], [10]]])
    np.testing.assert_array_equal(run(graph, keys), evaluate(graph, {"k": keys})["e"])
    expected = run(model(range(20), shape=(2, 1), offsets=(0, 10)), keys)
    np.testing.assert_array_equal(run(graph, keys), expected)


def test_slot_offsets_stay_in_front_of_other_maps() -> None:
    graph = model(range(20), shape=(2, 1), offsets=(0, 10))
    choose_key_map(graph, "perfect-hash")
    assert "slot_offset" in str(graph)


def test_below_level_2_only_what_is_asked_for_changes() -> None:
    graph = model([2, 0, 1])
    assert choose_key_map(graph, automatic=False) == ()
    assert choose_key_map(graph, {"other": "direct"}, automatic=False) == ()
    assert [c.strategy for c in choose_key_map(graph, {"emb": "perfect-hash"}, automatic=False)] == ["perfect-hash"]


def test_a_strategy_can_be_named_for_one_table() -> None:
    assert chosen(model([2, 0, 1]), {"emb": "label-encoder"}) == "label-encoder"


def test_hashed_keys_cannot_be_direct() -> None:
    with pytest.raises(UnsupportedError, match=r"emb cannot be direct.*use perfect-hash"):
        choose_key_map(model([0, MOST]), "direct")


@pytest.mark.parametrize(("keys", "fits"), [([0, 2**24 - 1], True), ([0, 2**24], False), ([2**32 - 1, 0], False)])
def test_a_few_keys_may_spread_over_16_million_numbers(keys: list[int], fits: bool) -> None:
    """64 MB of row numbers; beyond that the error says what takes less."""
    if fits:
        assert chosen(model(keys), "direct") == "direct"
    else:
        with pytest.raises(UnsupportedError, match=r"2 of them lie between .* use perfect-hash, or label-encoder"):
            choose_key_map(model(keys), "direct")


def test_many_keys_may_spread_over_64_numbers_each() -> None:
    keys = np.arange(300_000) * 64
    assert chosen(model(keys), "direct") == "direct"
    with pytest.raises(UnsupportedError, match="cannot be direct"):
        choose_key_map(model(np.arange(300_000) * 65), "direct")


@pytest.mark.parametrize("keys", [[], [-5]])
def test_a_table_without_keys_says_so(keys: list[int]) -> None:
    (choice,) = choose_key_map(model(keys))
    assert choice.why == "no key can be asked for"


def test_rows_for_numbers_that_are_no_keys_are_counted() -> None:
    """Two keys of a range of 65,536: row numbers would take four times as much as rows of one float."""
    (choice,) = choose_key_map(model([0, 65_535], width=1))
    assert (choice.strategy, choice.filler_rows, choice.map_bytes) == ("direct", 65_534, 4 * 65_534)
    (choice,) = choose_key_map(model([0, 65_535], width=8))
    assert (choice.strategy, choice.filler_rows, choice.map_bytes) == ("direct", 0, 4 * 65_536)


# What is forecast


@pytest.mark.parametrize("keys", ["auto", *FORCED])
@pytest.mark.parametrize("table", [range(50), np.arange(50) * 3, np.arange(50) << 40, []])
def test_what_is_expected_is_what_is_chosen(table: Sequence[int] | np.ndarray, keys: str) -> None:
    try:
        (choice,) = choose_key_map(model(table), keys)
    except UnsupportedError:
        with pytest.raises(UnsupportedError, match=r"a row number for each number from 0 on takes"):
            expect_key_maps(model(table), keys)
        return
    (expected,) = expect_key_maps(model(table), keys)
    assert (expected.strategy, expected.filler_rows) == (choice.strategy, choice.filler_rows)


def test_rows_as_inputs_are_expected_for_any_keys() -> None:
    (choice,) = expect_key_maps(model([5, 2**60, -1]), "indices")
    assert (choice.strategy, choice.rows, choice.map_bytes) == ("indices", 2, 0)


def test_below_level_2_a_label_encoder_is_expected() -> None:
    (choice,) = expect_key_maps(model(range(10)), automatic=False)
    assert (choice.strategy, choice.map_bytes) == ("label-encoder", 160)
    (choice,) = expect_key_maps(model(range(10)), {"emb": "direct"}, automatic=False)
    assert choice.strategy == "direct"


def test_tops_are_checked() -> None:
    with pytest.raises(OptionError, match=r"'em', which is no embedding's top \(emb\?\)"):
        check_strategies(model([1]), {"em": "direct"})


def test_look_ups_of_one_table_share_one_copy() -> None:
    graph = Graph("g")
    table = graph.const(column(np.arange(40_000)), "keys")
    vectors = graph.const(np.ones((40_000, 16), np.float32), "vectors")
    parts = {f"e{i}": Embedding("sum")(graph.input(f"k{i}", i64(N, 1, 1)), table, vectors) for i in range(3)}
    graph.output({name: Relu()(value) for name, value in parts.items()})
    for strategy in FORCED:
        other = graph.clone()
        choose_key_map(other, strategy)
        assert artifact(other).nbytes < 40_000 * (16 * 4 + 24 * (1 if strategy != "label-encoder" else 3))


@pytest.mark.parametrize("opset", [17, 18, 21])
@pytest.mark.parametrize("strategy", FORCED)
def test_every_opset(strategy: str, opset: int) -> None:
    graph = model(range(50), shape=(3, 3))
    expected = run(model(range(50), shape=(3, 3)), keys := np.arange(18).reshape(2, 3, 3))
    choose_key_map(graph, strategy)
    np.testing.assert_allclose(run(graph, keys, opset), expected, 1e-6)


key_sets = st.one_of(
    st.lists(st.integers(0, 60), unique=True, max_size=40),
    st.lists(st.integers(LEAST, MOST), unique=True, max_size=40),
    st.lists(st.sampled_from([MOST, MOST - 1, LEAST, -1, 0, 1, 1 << 32, 1 << 31]), unique=True),
)


@settings(deadline=None, max_examples=60)
@given(
    keys=key_sets,
    asked=st.lists(st.one_of(st.integers(LEAST, MOST), st.integers(-2, 62)), min_size=12, max_size=12),
    places=st.lists(st.integers(0, 39), min_size=12, max_size=12),
    shape=st.sampled_from([(1, 1), (3, 1), (2, 2), (1, 6), (3, 4)]),
    width=st.sampled_from([1, 3]),
    default=st.sampled_from([0.0, 0.5]),
    offsets=st.booleans(),
    strategy=st.sampled_from(["auto", *FORCED]),
)
def test_every_strategy_gives_the_rows_of_the_plain_look_up(
    keys: list[int],
    asked: list[int],
    places: list[int],
    shape: tuple[int, int],
    width: int,
    default: float,
    offsets: bool,
    strategy: str,
) -> None:
    """Single rows bit by bit; sums of several within rounding, as the order of the additions differs."""
    known = [keys[place] for place in places if place < len(keys)]
    fed = np.array([*known, *asked][:12], np.int64).reshape(-1, *shape)
    options = {"shape": shape, "width": width, "default": default}
    options["offsets"] = tuple(range(0, 10 * shape[0], 10)) if offsets else ()
    plain, graph = model(keys, **options), model(keys, **options)
    try:
        choose_key_map(graph, strategy)
    except UnsupportedError:
        assert strategy == "direct"
        return
    expected, found = run(plain, fed), run(graph, fed)
    np.testing.assert_array_equal(evaluate(plain, {"k": fed})["e"], evaluate(graph, {"k": fed})["e"])
    if shape[1] == 1:
        np.testing.assert_array_equal(found, expected)
    else:
        np.testing.assert_allclose(found, expected, 1e-5, 1e-6)


@pytest.mark.parametrize("default", [0.0, 0.5])
@pytest.mark.parametrize("strategy", ["auto", *FORCED])
def test_repeated_keys_of_localized_tables(strategy: str, default: float) -> None:
    table, slots = np.array([5, 9, 5, 1 << 20]), np.array([0, 0, 1, 3])
    vectors = np.arange(8, dtype=np.float32).reshape(4, 2)

    def build() -> Graph:
        graph = Graph("g")
        operands = graph.input("k", i64(N, 3, 1)), graph.const(column(table)), graph.const(vectors), graph.const(slots)
        graph.output({"e": LocalizedEmbedding("sum", default, 2, (0, 1, 2))(*operands)})
        return graph

    graph = build()
    choose_key_map(graph, strategy)
    keys = np.array([[[5], [5], [5]], [[9], [9], [-1]], [[MOST], [1 << 20], [1 << 20]]])
    np.testing.assert_array_equal(run(graph, keys), run(build(), keys))
    absent = [default] * 2
    expected = [[[0, 1], [4, 5], [0, 1]], [[2, 3], absent, [0, 0]], [absent, [6, 7], absent]]
    np.testing.assert_array_equal(run(graph, keys), np.array(expected, np.float32))


@pytest.mark.parametrize(
    ("count", "size"),
    [
        (1000, 1251 * 12 + 256 * 8),  # 1000 / 0.8 + 1 slots of a key and an int32, 2^8 buckets of a uint64
        (4, 6 * 12 + 2 * 8),  # two buckets at least
        (0, 1 * 12 + 2 * 8),
    ],
)
def test_the_bytes_of_a_perfect_hash(count: int, size: int) -> None:
    assert hash_bytes(count) == size
    (expected,) = expect_key_maps(model(np.arange(count) << 30), "perfect-hash")
    assert expected.map_bytes == size
    assert choose_key_map(model(np.arange(count) << 30), "perfect-hash")[0].map_bytes == size


def test_row_numbers_beyond_int32_take_eight_bytes() -> None:
    assert hash_bytes(1 << 31) == (int((1 << 31) / 0.8) + 1) * 16 + 8 * (1 << 29)
