"""Prune by use: keys from arrays and files, the rows that stay, what a model without the others computes."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import hugectr2onnx
from hugectr2onnx.errors import FeedError, OptionError, UnsupportedError, WeightsError
from hugectr2onnx.frontend.weights import key_filter
from hugectr2onnx.frontend.weights.key_filter import keep, read_all, read_keys
from hugectr2onnx.frontend.weights.sparse_table import SparseTable
from hugectr2onnx.verification.verify_file import stored_options, verify

MOST = 2**63 - 1


# Where the keys come from


@pytest.mark.parametrize("given", [[5, 3, 5], (3, 5), np.array([[5], [3]], np.uint32), np.array([5, 3], np.int8)])
def test_keys_of_an_array(given: Any) -> None:
    assert read_keys(given, "keys").tolist() == [3, 5]


def test_keys_of_files(tmp_path: Path) -> None:
    keys = np.array([7, MOST, -1, 7], np.int64)
    (tmp_path / "key").write_bytes(keys.tobytes())
    np.save(tmp_path / "keys.npy", keys)
    for path in (tmp_path / "key", str(tmp_path / "keys.npy")):
        assert read_keys(path, "keys").tolist() == [-1, 7, MOST]


def test_several_files_are_united(tmp_path: Path) -> None:
    np.array([9, 7], np.int64).tofile(tmp_path / "key")
    np.save(tmp_path / "keys.npy", np.array([7, 2]))
    assert read_keys([tmp_path / "key", str(tmp_path / "keys.npy")], "keys").tolist() == [2, 7, 9]


def test_no_keys_at_all(tmp_path: Path) -> None:
    (tmp_path / "key").write_bytes(b"")
    assert read_keys([], "keys").tolist() == read_keys(tmp_path / "key", "keys").tolist() == []


def test_keys_come_in_chunks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(key_filter, "KEYS_AT_ONCE", 3)
    assert read_keys(np.arange(10)[::-1] % 7, "keys").tolist() == list(range(7))


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ([1.5], "keys: holds float64, expected integers"),
        (np.array(["a"]), "expected integers"),
        (["nothere", "neither"], "nothere: no such file"),
        (["nothere", 7], "expected integers"),
        (np.array([1 << 63], np.uint64), "9223372036854775808, which is beyond int64"),
        (7, "keys: is int; give an array"),
        ([[1], [2, 3]], "is no array of keys"),
        ("nothere", "no such file"),
        ("nothere.npy", "no such file"),
        ("nothere.parquet", "say which column, as nothere.parquet::COLUMN"),
    ],
)
def test_what_holds_no_keys(given: Any, message: str) -> None:
    with pytest.raises(WeightsError, match=message):
        read_keys(given, "keys")


def test_files_that_are_none(tmp_path: Path) -> None:
    (tmp_path / "odd").write_bytes(b"12345")
    (tmp_path / "odd.npy").write_bytes(b"12345")
    np.savez(tmp_path / "several.npz", a=[1])
    (tmp_path / "several.npz").rename(tmp_path / "several.npy")
    for name, message in (
        ("odd", "no multiple of 8"),
        ("odd.npy", "cannot be read as .npy"),
        ("several.npy", "cannot be read as .npy: the magic string"),
    ):
        with pytest.raises(WeightsError, match=message):
            read_keys(tmp_path / name, "keys")


def test_keep_keys_must_name_tables() -> None:
    with pytest.raises(WeightsError, match=r"expected \{embedding top or table: keys\}"):
        read_all([1, 2])  # type: ignore[arg-type]


def test_a_column_of_a_parquet_file(tmp_path: Path) -> None:
    pyarrow = pytest.importorskip("pyarrow")
    from pyarrow import parquet

    path = tmp_path / "log.parquet"
    lists = pyarrow.array([[1, 2], [], None, [2]], pyarrow.list_(pyarrow.int64()))
    parquet.write_table(pyarrow.table({"item": pyarrow.array([5, None, 5, 3], pyarrow.int32()), "tags": lists}), path)
    assert read_keys(f"{path}::item", "keys").tolist() == [3, 5]
    assert read_keys(f"{path}::tags", "keys").tolist() == [1, 2]
    with pytest.raises(WeightsError, match="no column 'user'; it has item, tags"):
        read_keys(f"{path}::user", "keys")
    path.write_bytes(b"PAR1")
    with pytest.raises(WeightsError, match="cannot be read"):
        read_keys(f"{path}::item", "keys")


def test_without_pyarrow_it_says_what_to_install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "log.parquet").write_bytes(b"PAR1")
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    with pytest.raises(UnsupportedError, match=r"pip install hugectr2onnx\[parquet\]"):
        read_keys(f"{tmp_path / 'log.parquet'}::item", "keys")


# The rows that stay


@settings(deadline=None, derandomize=True)
@given(st.lists(st.integers(-3, 30), max_size=40), st.lists(st.integers(-3, 30), max_size=20))
def test_rows_stay_in_the_order_of_the_file(keys: list[int], wanted: list[int]) -> None:
    vectors = np.arange(2 * len(keys), dtype=np.float32).reshape(-1, 2)
    table = SparseTable(None, np.array(keys, np.int64), vectors, np.arange(len(keys)))
    kept = keep(table, read_keys(wanted, "keys"))
    rows = [row for row, key in enumerate(keys) if key in wanted]
    assert np.asarray(kept.keys).tolist() == [keys[row] for row in rows]
    np.testing.assert_array_equal(kept.vectors, vectors[rows].reshape(-1, 2))
    assert kept.slot_ids is not None and kept.slot_ids.tolist() == rows


def test_many_rows_are_mapped_from_a_file(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(key_filter, "MOST_IN_MEMORY", 0)
    monkeypatch.setattr(key_filter, "_FILTERED_BYTES", 50)
    vectors = np.random.default_rng(0).normal(size=(100, 3)).astype(np.float32)
    kept = keep(SparseTable(None, np.arange(100), vectors), np.arange(0, 100, 3))
    assert isinstance(kept.vectors.base, np.memmap)
    np.testing.assert_array_equal(kept.vectors, vectors[::3])


# A model


def graph(type: str = "DistributedSlotSparseEmbeddingHash") -> dict[str, Any]:
    sparse = [{"top": "keys", "slot_num": 2, "nnz_per_slot": [1, 1], "is_fixed_length": True}]
    data = {"type": "Data", "label": {"top": "label", "label_dim": 1}, "dense": {"top": "dense", "dense_dim": 0}}
    hparam = {"embedding_vec_size": 2, "combiner": "sum"}
    embedding = {"type": type, "bottom": "keys", "top": "emb", "sparse_embedding_hparam": hparam}
    return {"layers": [{**data, "sparse": sparse}, embedding, {"type": "ReLU", "bottom": "emb", "top": "out"}]}


def files(folder: Path, keys: list[int], slots: list[int] | None = None) -> dict[str, Any]:
    table = folder / "m0_sparse_0.model"
    table.mkdir()
    (folder / "m_dense_0.model").write_bytes(b"")
    (table / "key").write_bytes(np.array(keys, "<i8").tobytes())
    (table / "emb_vector").write_bytes(np.arange(1, 2 * len(keys) + 1, dtype="<f4").tobytes())
    if slots is not None:
        (table / "slot_id").write_bytes(np.array(slots, "<i8").tobytes())
    return {"dense": folder / "m_dense_0.model", "sparse": [table]}


@pytest.mark.parametrize("level", range(4))
@pytest.mark.parametrize("keys", ["auto", "perfect-hash"])
def test_dropped_keys_are_keys_that_the_table_lacks(level: int, keys: str, tmp_path: Path) -> None:
    weights = files(tmp_path, [10, 20, 30])
    compiled = hugectr2onnx.compile(graph(), weights, level, keys=keys, keep_keys={"emb": [30, 10, 99]}, simplify=False)
    found = compiled.run({"keys": np.array([[[10], [20]], [[30], [-1]]])})["out"]
    np.testing.assert_array_equal(found, [[[1, 2], [0, 0]], [[5, 6], [0, 0]]])
    (table,) = compiled.report.stored
    assert (table.rows, table.rows_dropped, table.bytes_before) == (2, 1, 24)
    assert table.bytes_saved == 8 - 8 * table.filler_rows


def test_which_row_a_repeated_key_means_does_not_change(tmp_path: Path) -> None:
    """Key 5 lives on both of two GPUs, key 6 on the first: slot 1 must not find it, though 5 is gone (formats 2.2)."""
    weights = files(tmp_path, [5, 6, 5], [0, 0, 1])
    compiled = hugectr2onnx.compile(
        graph("LocalizedSlotSparseEmbeddingHash"), weights, keep_keys={"emb": [6]}, simplify=False
    )
    found = compiled.run({"keys": np.array([[[6], [6]], [[5], [5]]])})["out"]
    np.testing.assert_array_equal(found, [[[3, 4], [0, 0]], [[0, 0], [0, 0]]])


@pytest.mark.parametrize(
    ("wanted", "warning"),
    [
        ([], "keep_keys names no keys, so none stand in the table of 3 rows"),
        ([11, 12], "keep_keys names 2 keys, of which none stand in the table of 3 rows"),
        (range(10, 31), None),
        (range(11), "keep_keys names 11 keys, of which 1 stand in the table of 3 rows"),
    ],
)
def test_keys_that_hardly_match_are_likely_others(wanted: Any, warning: str | None, tmp_path: Path) -> None:
    compiled = hugectr2onnx.compile(
        graph(), files(tmp_path, [10, 20, 30]), keep_keys={"emb": list(wanted)}, simplify=False
    )
    if warning is None:
        assert compiled.report.warnings == []
    else:
        assert warning in "".join(compiled.report.warnings)
        assert "the sum of the sizes before a slot is added already" in "".join(compiled.report.warnings)


def test_an_empty_table_has_nothing_to_match(tmp_path: Path) -> None:
    compiled = hugectr2onnx.compile(graph(), files(tmp_path, []), keep_keys={"emb": [1]}, simplify=False)
    assert compiled.report.warnings == []


def test_a_name_that_is_no_embedding(tmp_path: Path) -> None:
    with pytest.raises(OptionError, match="keep_keys names 'em', which is no embedding's top"):
        hugectr2onnx.compile(graph(), files(tmp_path, [1]), keep_keys={"em": [1]})


def test_verifying_needs_the_same_keys(tmp_path: Path) -> None:
    weights, path = files(tmp_path, [10, 20, 30]), tmp_path / "m.onnx"
    hugectr2onnx.compile(graph(), weights, embedding={"emb": "int8"}, keep_keys={"emb": [30, 10]}, simplify=False).save(
        path
    )
    options = stored_options(path)
    assert options.embedding == {"emb": "int8"}
    with pytest.raises(FeedError, match=r"compiled with the keep_keys 2 keys, sha256 \w+ for emb, not none"):
        verify(path, graph(), weights, options=options)
    same = type(options)(embedding=options.embedding, keep_keys={"emb": [10, 30]})
    assert verify(path, graph(), weights, options=same).parity.outputs
