"""Look-ups on keys in compressed sparse rows, against the definition in plain Python, also on onnxruntime."""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hugectr2onnx.errors import ShapeError
from hugectr2onnx.ir.graph import Graph, Value
from hugectr2onnx.ir.ops.requests import csr_types
from hugectr2onnx.ir.ops.segments import FlatKeys, KeySlots, MoveKeys, PoolSegments
from hugectr2onnx.ir.types import N, Width, f32, i64

OnOnnxruntime = Callable[..., dict[str, np.ndarray]]
MOST = 2**63 - 1
COUNTS = [
    [1, 0, 2],
    [0, 0, 0],
    [3, 13, 1],
    [0, 0, 0, 0, 0, 31],
    [],
]


def of_counts(counts: list[int]) -> tuple[np.ndarray, np.ndarray]:
    """Keys of so many a segment, numbered from 1 on with every fifth negative, and their offsets."""
    keys = np.arange(1, sum(counts) + 1)
    keys[4::5] *= -1
    return keys, np.concatenate([[0], np.cumsum(counts)]).astype(np.int64)


def csr_inputs(graph: Graph) -> tuple[Value, Value]:
    keys, offsets = (graph.input(n, t) for n, t in zip(("k", "o"), csr_types("k"), strict=True))
    return keys, offsets


def pooled(
    rows: np.ndarray, keys: np.ndarray, offsets: np.ndarray, mean: bool, is_padding: Callable[[int], bool], masked: bool
) -> np.ndarray:
    """The definition: the sum of the rows of each segment; with `mean` divided by its keys that are no padding."""
    found = []
    for start, end in pairwise(offsets):
        present = [not is_padding(int(key)) for key in keys[start:end]]
        counted = [row for row, is_there in zip(rows[start:end], present, strict=True) if is_there or not masked]
        total = np.sum(counted, 0, np.float64) if counted else np.zeros(rows.shape[1])
        found.append(total / max(1, sum(present)) if mean else total)
    return np.array(found).reshape(len(offsets) - 1, rows.shape[1])


def pool_graph(op: PoolSegments) -> Graph:
    graph = Graph()
    keys, offsets = csr_inputs(graph)
    rows = graph.input("rows", f32(Width(1, "keys_k"), 1, 2))
    graph.output({"y": op(rows, FlatKeys()(keys), offsets)})
    return graph


@pytest.mark.parametrize("counts", COUNTS, ids=str)
@pytest.mark.parametrize("mean", [False, True], ids=["sum", "mean"])
@pytest.mark.parametrize(
    ("padding_key", "masked"), [(None, False), (2, False), (2, True)], ids=["negative", "key 2", "masked"]
)
def test_pooling_on_onnxruntime_is_the_definition(
    on_onnxruntime: OnOnnxruntime, counts: list[int], mean: bool, padding_key: int | None, masked: bool
) -> None:
    keys, offsets = of_counts(counts)
    rows = np.random.default_rng(0).integers(-8, 8, (len(keys), 2)).astype(np.float32)

    def is_padding(key: int) -> bool:
        return key < 0 if padding_key is None else key == padding_key

    op = PoolSegments(1, (0,), mean, padding_key, masked)
    expected = pooled(rows, keys, offsets, mean, is_padding, masked).reshape(-1, 1, 2)
    feeds = {"k": keys, "o": offsets, "rows": rows.reshape(-1, 1, 2)}
    np.testing.assert_allclose(on_onnxruntime(pool_graph(op), feeds)["y"], expected, rtol=1e-6)
    found = op.evaluate(rows.reshape(-1, 1, 2).astype(np.float64), keys.reshape(-1, 1, 1), offsets)
    np.testing.assert_allclose(found, expected, rtol=1e-12)


@given(st.lists(st.integers(0, 70), max_size=6))
@settings(max_examples=40, deadline=None)
def test_segments_of_any_length_add_up(on_onnxruntime: OnOnnxruntime, counts: list[int]) -> None:
    keys, offsets = of_counts(counts)
    rows = np.repeat(np.arange(len(keys), dtype=np.float32), 2).reshape(-1, 1, 2)
    found = on_onnxruntime(pool_graph(PoolSegments(1, (0,))), {"k": keys, "o": offsets, "rows": rows})["y"]
    starts = offsets[:-1]
    sums = [sum(range(start, start + count)) for start, count in zip(starts, counts, strict=True)]
    np.testing.assert_array_equal(found, np.repeat(np.float32(sums), 2).reshape(-1, 1, 2))


def test_only_some_slots_are_pooled(on_onnxruntime: OnOnnxruntime) -> None:
    keys, offsets = of_counts([1, 2, 0, 0, 1, 1])
    rows = np.repeat(np.float32([1, 2, 4, 8, 16]), 2).reshape(-1, 1, 2)
    op = PoolSegments(3, (2, 0))
    expected = [[[0, 0], [1, 1]], [[16, 16], [0, 0]]]
    np.testing.assert_array_equal(op.evaluate(rows, keys.reshape(-1, 1, 1), offsets), expected)
    found = on_onnxruntime(pool_graph(op), {"k": keys, "o": offsets, "rows": rows})["y"]
    np.testing.assert_array_equal(found, expected)


def test_pooling_takes_a_row_for_each_key() -> None:
    keys, offsets = i64(Width(1, "keys_k"), 1, 1), csr_types("k")[1]
    assert PoolSegments(2, (0, 1)).infer(f32(Width(1, "keys_k"), 1, 4), keys, offsets) == f32(N, 2, 4)
    for rows in (f32(N, 1, 4), f32(Width(1, "keys_k"), 4)):
        with pytest.raises(ShapeError):
            PoolSegments(2, (0, 1)).infer(rows, keys, offsets)


@pytest.mark.parametrize("counts", [[1, 0, 2, 0, 0, 3], [0, 0, 0, 0], [], [0, 2]], ids=str)
def test_each_key_knows_its_slot(on_onnxruntime: OnOnnxruntime, counts: list[int]) -> None:
    keys, offsets = of_counts(counts)
    graph = Graph()
    k, o = csr_inputs(graph)
    graph.output({"y": KeySlots(2)(FlatKeys()(k), o)})
    expected = [segment % 2 for segment, count in enumerate(counts) for _ in range(count)]
    assert on_onnxruntime(graph, {"k": keys, "o": offsets})["y"].ravel().tolist() == expected
    assert KeySlots(2).evaluate(keys.reshape(-1, 1, 1), offsets).ravel().tolist() == expected


@pytest.mark.parametrize(
    ("signed", "expected"),
    [(False, [15, MOST, -1, -(2**63), MOST]), (True, [15, MOST, 9, -(2**63) + 20, MOST])],
    ids=["negative keys are padding", "negative keys are keys"],
)
def test_offsets_are_added_and_saturate(on_onnxruntime: OnOnnxruntime, signed: bool, expected: list[int]) -> None:
    keys, slots = np.array([5, MOST - 5, -1, -(2**63), MOST]), np.array([0, 1, 0, 1, 1])
    op = MoveKeys((10, 20), signed)
    shape = (-1, 1, 1)
    assert op.evaluate(keys.reshape(shape), slots.reshape(shape)).ravel().tolist() == expected
    graph = Graph()
    k, s = (graph.input(name, i64(Width(1, "K"), 1, 1)) for name in ("k", "s"))
    graph.output({"y": op(k, s)})
    feeds = {"k": keys.reshape(shape), "s": slots.reshape(shape)}
    assert on_onnxruntime(graph, feeds)["y"].ravel().tolist() == expected
