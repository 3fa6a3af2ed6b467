"""Rows as half floats and as bytes with a scale: the numbers that come back, in every way from key to row."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays as np_arrays

from hugectr2onnx.backend.onnx.artifact import Artifact, Blob
from hugectr2onnx.backend.onnx.emitter import emit
from hugectr2onnx.backend.reorder import by_block, by_bucket, reorder
from hugectr2onnx.backend.runtime import parity, sessions, touched_rows
from hugectr2onnx.backend.saving.direct_io import FileRegion
from hugectr2onnx.backend.saving.save import save
from hugectr2onnx.errors import UnsupportedError
from hugectr2onnx.ir.graph import Graph
from hugectr2onnx.ir.ops.elementwise import Relu
from hugectr2onnx.ir.ops.lookup import Embedding, LocalizedEmbedding
from hugectr2onnx.ir.types import N, i64
from hugectr2onnx.passes.lookups.choose_key_map import choose_key_map
from hugectr2onnx.quantization.stored_tables import stored_tables, with_fillers
from hugectr2onnx.tables.gathered import Converted, Gathered, convert
from hugectr2onnx.tables.key_index import column
from hugectr2onnx.tables.row_format import FORMATS, FP16, FP32, INT8, RowFormat
from hugectr2onnx.tables.vectors import vectors_of

SMALLER = (FP16, INT8)
STRATEGIES = (None, "direct", "label-encoder", "perfect-hash")


# What a format means


def test_int8_rows_by_hand() -> None:
    """127 steps to the largest number of the row: steps of 0.02 and of 1."""
    rows = np.float32([[2.54, -1.244, 0.005, 0.031], [127, 1.4, -3.6, 0]])
    np.testing.assert_array_equal(INT8.encode(rows), [[127, -62, 0, 2], [127, 1, -4, 0]])
    np.testing.assert_allclose(INT8.scales(rows), [[0.02], [1]], rtol=1e-6)
    np.testing.assert_allclose(INT8.round_trip(rows), [[2.54, -1.24, 0, 0.04], [127, 1, -4, 0]], rtol=1e-6)


def test_fp16_rows_are_the_nearest_half_floats() -> None:
    """Half floats between 1 and 2 lie 1/1024 apart."""
    np.testing.assert_array_equal(FP16.round_trip(np.float32([[1.0004, 1.0006, -0.25]])), [[1, 1 + 1 / 1024, -0.25]])


def test_a_row_of_zeros_stays_one() -> None:
    for format in FORMATS:
        np.testing.assert_array_equal(format.round_trip(np.zeros((2, 3), np.float32)), np.zeros((2, 3)))


def test_numbers_that_are_not_finite_spoil_their_row_only() -> None:
    rows = np.float32([[1, np.nan], [1, np.inf], [1, -1]])
    found = INT8.round_trip(rows)
    assert np.isnan(found[:2]).all()
    np.testing.assert_allclose(found[2], [1, -1], rtol=1e-6)


def test_bytes_of_a_row() -> None:
    assert [format.row_bytes(16) for format in FORMATS] == [64, 32, 20]


@pytest.mark.parametrize(("width", "format"), [(1, FP16), (3, FP16), (4, FP16), (5, INT8), (128, INT8)])
def test_a_scale_must_be_worth_its_bytes(width: int, format: RowFormat) -> None:
    assert INT8.at_width(width) == format
    assert (FP16.at_width(width), FP32.at_width(width)) == (FP16, FP32)


tables = np_arrays(np.float32, st.tuples(st.integers(0, 8), st.integers(1, 9)), elements=st.floats(-1e4, 1e4, width=32))


@settings(deadline=None, derandomize=True)
@given(tables)
def test_int8_is_off_by_half_a_step_at_most(rows: np.ndarray) -> None:
    step = np.abs(rows.astype(np.float64)).max(1, keepdims=True) / 127
    assert (np.abs(INT8.round_trip(rows) - rows.astype(np.float64)) <= 0.5001 * step + 1e-42).all()


@settings(deadline=None, derandomize=True)
@given(tables)
def test_a_second_round_trip_through_half_floats_changes_nothing(rows: np.ndarray) -> None:
    once = FP16.round_trip(rows)
    np.testing.assert_array_equal(FP16.round_trip(once), once)
    assert (np.abs(once - rows) <= np.abs(rows) / 2048 + 2**-25).all()


@settings(deadline=None, derandomize=True)
@given(tables, st.sampled_from(SMALLER))
def test_what_is_measured_is_the_error_of_the_round_trip(rows: np.ndarray, format: RowFormat) -> None:
    measured = vectors_of(rows).measured(format)
    error = format.round_trip(rows).astype(np.float64) - rows
    assert measured.max_error == pytest.approx(np.abs(error).max(initial=0), rel=1e-5, abs=1e-30)
    assert measured.rms_error == pytest.approx(np.sqrt(np.mean(error**2)) if error.size else 0, rel=1e-4, abs=1e-30)
    if format.has_scales:
        np.testing.assert_array_equal(format.decode(format.encode(rows), measured.scales), format.round_trip(rows))


# Rows that are worked out as they are written


@pytest.mark.parametrize("format", SMALLER)
@pytest.mark.parametrize("shape", [(10, 3), (10, 1)])
def test_a_part_is_what_encoding_the_whole_gives(format: RowFormat, shape: tuple[int, int]) -> None:
    table = np.random.default_rng(0).normal(size=shape).astype(np.float32)
    order = np.array([3, -1, 9, 0])
    filled = np.concatenate([table, np.full((1, shape[1]), 0.5, np.float32)])[order]
    for part, expected in ((Converted(table, format), table), (Gathered(table, order, 0.5, format), filled)):
        encoded = format.encode(expected)
        blob = Blob((part, format.encode(np.zeros((1, shape[1]), np.float32))))
        assert (blob.dtype, blob.shape) == (encoded.dtype, (len(encoded) + 1, shape[1]))
        assert blob.nbytes == encoded.nbytes + encoded[:1].nbytes
        np.testing.assert_array_equal(blob.materialise()[:-1], encoded)
        np.testing.assert_array_equal(blob.rows(np.array([2, 1, len(encoded)]))[:2], encoded[[2, 1]])
        assert b"".join(blob.chunks(5))[: encoded.nbytes] == encoded.tobytes()
        if shape[1] == 1:
            np.testing.assert_array_equal(part.reshape(-1)[0:4], encoded[:4].reshape(-1))


@pytest.mark.parametrize("format", SMALLER)
@pytest.mark.parametrize("memory", [0, 1 << 40])
def test_a_large_table_is_put_in_order_and_converted(
    format: RowFormat, memory: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In two passes through the place of the result itself, which is smaller than the table, and in blocks."""
    monkeypatch.setattr(reorder, "available_memory", lambda: memory)
    monkeypatch.setattr(by_bucket, "BUCKET_MEMORY", 20000)
    monkeypatch.setattr(reorder, "AT_RANDOM", -1)
    monkeypatch.setattr(by_block, "BLOCK_MEMORY", 40000)
    random = np.random.default_rng(1)
    table = random.normal(size=(5000, 6)).astype(np.float32)
    order = random.permutation(6000) - 1000
    part = Gathered(table, np.where(order < 0, -1, order), 0.25, format)
    expected = format.encode(np.where(order[:, None] < 0, np.float32(0.25), table[order]))
    with open(tmp_path / "rows", "w+b") as file:
        given = [rows.copy() for rows in reorder.write(part, FileRegion(file.fileno(), 0), lambda count: None)]
    assert (tmp_path / "rows").read_bytes() == expected.tobytes()
    np.testing.assert_array_equal(np.concatenate(given), expected)


def test_float32_rows_are_left_as_they_are() -> None:
    table = np.zeros((2, 2), np.float32)
    assert convert(table, FP32) is table


# In a model


def pooled(keys: np.ndarray, known: dict[int, np.ndarray], default: np.ndarray, combiner: str) -> np.ndarray:
    """The definition (formats 3.2), on the rounded rows."""
    result = np.zeros((*keys.shape[:2], len(default)))
    for sample, slot in np.ndindex(keys.shape[:2]):
        present = [int(key) for key in keys[sample, slot] if key >= 0]
        total = np.sum([known.get(key, default) for key in present], 0) if present else 0 * default
        result[sample, slot] = total / max(len(present), 1) if combiner == "mean" else total
    return result


def rounded(rows: np.ndarray, format: RowFormat) -> np.ndarray:
    """The rows by another road: Python numbers, one row at a time."""
    if format == FP16:
        return np.array([[float(np.float16(x)) for x in row] for row in rows]).reshape(rows.shape)
    scales = [np.float32(max(map(abs, row), default=0)) / np.float32(127) for row in rows]
    return np.array(
        [
            [float(np.float32(round(float(x / s))) * s) if s else 0.0 for x in row]
            for row, s in zip(rows, scales, strict=True)
        ]
    ).reshape(rows.shape)


@pytest.mark.parametrize("strategy", STRATEGIES)
@pytest.mark.parametrize("format", SMALLER)
@pytest.mark.parametrize("combiner", ["sum", "mean"])
@pytest.mark.parametrize("hotness", [1, 3, 12])
@pytest.mark.parametrize("width", [1, 5])
def test_every_way_from_key_to_row(
    on_onnxruntime: Callable[..., dict[str, np.ndarray]],
    width: int,
    hotness: int,
    combiner: str,
    format: RowFormat,
    strategy: str | None,
) -> None:
    random = np.random.default_rng([width, hotness])
    table_keys = random.permutation(40)[:25]
    vectors = random.normal(size=(25, width)).astype(np.float32)
    keys = random.integers(-10, 50, (5, 3, hotness))
    for default in (0.0, -1.25):
        graph = Graph()
        op = Embedding(combiner, default, row_format=format)
        asked = graph.input("k", i64(N, 3, hotness))
        graph.output({"y": op(asked, graph.const(column(table_keys)), graph.const(vectors))})
        stood_for = rounded(np.full((1, width), default, np.float32), format)[0]
        known = dict(zip(table_keys.tolist(), rounded(vectors, format), strict=True))
        expected = pooled(keys, known, stood_for, combiner)
        np.testing.assert_allclose(op.evaluate(keys, table_keys, vectors), expected, rtol=1e-12)
        if strategy is not None:
            choose_key_map(graph, strategy)
        found = on_onnxruntime(graph, {"k": keys})["y"]
        assert found.dtype == np.float32
        if hotness == 1:
            np.testing.assert_array_equal(found, expected.astype(np.float32))
        else:
            np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("strategy", STRATEGIES)
@pytest.mark.parametrize("format", SMALLER)
def test_repeated_keys_of_localized_tables(
    on_onnxruntime: Callable[..., dict[str, np.ndarray]], format: RowFormat, strategy: str | None
) -> None:
    """Two GPUs: slot 0 reads the first row of key 5, slot 1 the second (formats 2.2)."""
    graph = Graph()
    table = graph.const(column(np.array([5, 5, 6]))), graph.const(np.float32([[127, 1.4], [254, 3], [-127, 0]]))
    op = LocalizedEmbedding("sum", 0.0, 2, (0, 1), row_format=format)
    graph.output({"y": op(graph.input("k", i64(N, 2, 1)), *table, graph.const(np.array([0, 1, 0])))})
    if strategy is not None:
        choose_key_map(graph, strategy)
    found = on_onnxruntime(graph, {"k": np.array([[[5], [5]], [[6], [6]], [[-1], [7]]])})["y"]
    expected = {INT8: [[127, 1], [254, 4]], FP16: [[127, np.float16(1.4)], [254, 3]]}[format]
    np.testing.assert_array_equal(found, np.float32([expected, [[-127, 0], [0, 0]], [[0, 0], [0, 0]]]))


@pytest.mark.parametrize("format", SMALLER)
def test_the_file_is_smaller_and_passes_parity(format: RowFormat, tmp_path: Path) -> None:
    def build() -> Graph:
        graph = Graph()
        vectors = np.random.default_rng(0).normal(size=(20_000, 64)).astype(np.float32)
        known = graph.const(column(np.random.default_rng(1).permutation(20_000)))
        graph.output(
            {"y": Embedding("sum", row_format=format)(graph.input("k", i64(N, 2, 1)), known, graph.const(vectors))}
        )
        return graph

    expected, graph = parity.expect(build()), build()
    choose_key_map(graph)
    artifact: Artifact = emit(graph, graph_name="g", opset=17, version="0", metadata={})
    assert parity.check(artifact, expected).outputs[0].max_error == 0
    assert artifact.nbytes < 20_001 * format.row_bytes(64) + 4096
    save(artifact, tmp_path / "m.onnx", limit=1 << 16)
    (data,) = tmp_path.glob("m.onnx.*.data")
    assert data.stat().st_size >= 20_001 * (format.row_bytes(64) - 4)
    for each in expected:
        found = sessions.run(sessions.open_session(tmp_path / "m.onnx"), each.feeds)["y"]
        np.testing.assert_array_equal(found, each.reference["y"].astype(np.float32))


@pytest.mark.parametrize("strategy", ["direct", "perfect-hash"])
@pytest.mark.parametrize("format", SMALLER)
def test_a_model_with_only_the_rows_it_reads(format: RowFormat, strategy: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """As tables larger than memory are checked: numbers and scales lie in a file of holes."""
    monkeypatch.setattr(touched_rows, "MIN_TABLE", 1 << 16)
    graph = Graph()
    vectors = np.random.default_rng(0).normal(size=(30_000, 48)).astype(np.float32)
    known = graph.const(column(np.random.default_rng(1).permutation(30_000)))
    asked = graph.input("k", i64(N, 3, 2))
    graph.output({"y": Embedding("mean", -0.5, row_format=format)(asked, known, graph.const(vectors))})
    expected = parity.expect(graph)
    choose_key_map(graph, strategy)
    artifact = emit(graph, graph_name="g", opset=17, version="0", metadata={})
    answers = touched_rows.run_all(artifact, [each.feeds for each in expected], large=0)
    assert parity.compare(expected, answers).outputs[0].max_error < 1e-6


@pytest.mark.parametrize("format", FORMATS)
def test_two_look_ups_of_one_table_and_format_share_its_rows(format: RowFormat) -> None:
    graph = Graph()
    table = graph.const(column(np.arange(30_000))), graph.const(vectors_of(np.ones((30_000, 16), np.float32)))
    asked = graph.input("k", i64(N, 1, 1))
    graph.output({n: Relu()(Embedding(n, row_format=format)(asked, *table)) for n in ("sum", "mean")})
    choose_key_map(graph)
    artifact = emit(graph, graph_name="g", opset=17, version="0", metadata={})
    assert artifact.nbytes < 30_001 * format.row_bytes(16) + 8192


@pytest.mark.parametrize(
    ("width", "strategy", "hotness", "nodes"),
    [
        (5, None, 1, "LabelEncoder Gather Gather Cast Mul ReduceSum"),
        (5, "label-encoder", 1, "LabelEncoder Reshape Gather Gather DequantizeLinear Reshape"),
        (5, "label-encoder", 9, "LabelEncoder Reshape Gather Gather DequantizeLinear Reshape ReduceSum"),
        (1, "label-encoder", 1, "LabelEncoder Gather Gather Cast Mul"),
    ],
)
def test_bytes_become_floats_in_one_operator(width: int, strategy: str | None, hotness: int, nodes: str) -> None:
    """But for the plain look-up of level 0, and rows of one number, which have no row to share a scale."""
    graph = Graph()
    asked = graph.input("k", i64(N, 2, hotness))
    table = graph.const(column(np.array([5, 1 << 40]))), graph.const(np.ones((2, width), np.float32))
    graph.output({"y": Embedding("sum", row_format=INT8)(asked, *table)})
    if strategy is not None:
        choose_key_map(graph, strategy)
    artifact = emit(graph, graph_name="g", opset=17, version="0", metadata={})
    assert " ".join(node.op_type for node in artifact.skeleton.graph.node) == nodes


# What the report says


def looked_up(vectors: np.ndarray, format: RowFormat) -> Graph:
    graph = Graph()
    with graph.building("emb"):
        known = graph.const(column(np.arange(len(vectors))))
        pooled = Embedding("sum", row_format=format)(graph.input("k", i64(N, 1, 1)), known, graph.const(vectors))
    graph.output({"y": pooled})
    return graph


def test_bytes_and_errors_of_a_table() -> None:
    vectors = vectors_of(np.float32([[127, 1.25, 0, 0, 0]]))
    vectors.dropped = 2
    (entry,) = stored_tables(looked_up(vectors, INT8))
    assert (entry.table, entry.format, entry.rows, entry.rows_dropped) == ("emb", "int8", 1, 2)
    assert (entry.bytes_before, entry.bytes_after, entry.bytes_saved) == (60, 9, 51)
    assert (entry.max_error, entry.rms_error) == (0.25, pytest.approx(0.25 / 5**0.5))


def test_float32_tables_are_not_read() -> None:
    (entry,) = stored_tables(looked_up(np.float32([[np.nan]]), FP32))
    assert (entry.max_error, entry.bytes_before, entry.bytes_after) == (0, 4, 4)


@pytest.mark.parametrize(("format", "row"), [(FP32, 64), (FP16, 32), (INT8, 20)])
def test_rows_that_the_key_map_adds_are_counted(format: RowFormat, row: int) -> None:
    """60 keys of the range 0 to 2999: the model holds 3000 rows, and one for missing keys."""
    graph = looked_up(vectors_of(np.ones((60, 16), np.float32)), format)
    keys = column(np.r_[np.arange(59), 2999])
    graph.replace(graph.outputs["y"].inputs[1], graph.const(keys))
    (before,) = stored_tables(graph)
    assert before.bytes_after == 60 * row
    (after,) = with_fillers([before], choose_key_map(graph))
    assert (after.rows, after.filler_rows, after.bytes_after) == (60, 2940, 3000 * row)
    assert with_fillers([after], choose_key_map(graph)) == (after,)
    emitted = emit(graph, graph_name="g", opset=17, version="0", metadata={})
    assert after.bytes_after <= emitted.nbytes <= after.bytes_after + 3000


@pytest.mark.parametrize(
    ("number", "format", "why"),
    [(7e4, FP16, "beyond 65504"), (np.inf, INT8, "NaN or infinite"), (np.nan, INT8, "NaN")],
)
def test_a_format_that_cannot_hold_the_numbers(number: float, format: RowFormat, why: str) -> None:
    with pytest.raises(UnsupportedError, match=f"emb cannot be {format}: .*{why}"):
        list(stored_tables(looked_up(np.float32([[number, 1]]), format)))
