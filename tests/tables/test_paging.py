"""Stretches and rows of mapped files, read past their maps."""

from __future__ import annotations

import gc
import os
from pathlib import Path

import numpy as np
import pytest

from hugectr2onnx.errors import WeightsError
from hugectr2onnx.frontend.weights.mapped_file import map_file
from hugectr2onnx.tables import paging

TABLE = np.random.default_rng(0).random((5000, 3), np.float32)


@pytest.fixture(params=[1, 1 << 30], ids=["kept open", "mapped only"])
def mapped(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> np.ndarray:
    """A table that counts as large, and one that does not."""
    monkeypatch.setattr(paging, "WINDOW_BYTES", request.param)
    TABLE.tofile(tmp_path / "rows")
    return map_file(tmp_path / "rows", np.dtype("<f4"), "rows").reshape(TABLE.shape)


def test_rows_from_anywhere(mapped: np.ndarray) -> None:
    rows = np.array([4899, 0, 17, 17])
    np.testing.assert_array_equal(paging.take(mapped, rows), TABLE[rows])
    np.testing.assert_array_equal(paging.take(mapped[100:], rows), TABLE[100:][rows])
    np.testing.assert_array_equal(paging.take(mapped.reshape(-1), rows), TABLE.reshape(-1)[rows])
    assert paging.take(mapped, rows[:0]).shape == (0, 3)


def test_a_stretch(mapped: np.ndarray) -> None:
    out = np.empty((1000, 3), np.float32)
    paging.read(mapped[2000:3000], out)
    np.testing.assert_array_equal(out, TABLE[2000:3000])
    paging.read(mapped[::5], out)
    np.testing.assert_array_equal(out, TABLE[::5])


def test_pages_that_were_given_back_come_again(mapped: np.ndarray) -> None:
    for chunk in (mapped, mapped[1000:4000], mapped[:0], mapped[::7], TABLE):
        paging.forget(chunk)
    np.testing.assert_array_equal(mapped, TABLE)


def test_a_file_that_was_cut_short_is_an_error_where_it_is_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(paging, "WINDOW_BYTES", 1)
    TABLE.tofile(tmp_path / "rows")
    mapped = map_file(tmp_path / "rows", np.dtype("<f4"), "rows").reshape(TABLE.shape)
    os.truncate(tmp_path / "rows", 100)
    with pytest.raises(WeightsError, match="became shorter"):
        paging.take(mapped, np.array([4000]))


@pytest.mark.skipif(not os.path.isdir("/proc/self/fd"), reason="/proc is Linux's")
def test_files_are_closed_with_their_maps(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(paging, "WINDOW_BYTES", 1)
    TABLE.tofile(tmp_path / "rows")
    gc.collect()  # earlier tests' maps, which would close in between
    before = len(os.listdir("/proc/self/fd"))
    maps = [map_file(tmp_path / "rows", np.dtype("<f4"), "rows") for _ in range(3)]
    assert len(os.listdir("/proc/self/fd")) == before + 6
    del maps
    gc.collect()
    assert len(os.listdir("/proc/self/fd")) == before


def test_bytes_of_an_array_are_found_forwards_and_backwards() -> None:
    content = np.zeros((4, 5), np.int16)
    first = content.ctypes.data
    assert paging._bounds(content) == (first, first + 40)
    assert paging._bounds(content[1:3, 2]) == (first + 14, first + 26)
    assert paging._bounds(content[::-1]) == (first, first + 40)
    begin, end = paging._bounds(content[2:2])
    assert begin == end


def _mapped(path, rows):
    np.arange(rows, dtype=np.float32).tofile(path)
    with open(path, "rb") as file:
        return np.frombuffer(paging.Map.of(file.fileno()), np.float32)


def test_chunks_of_a_large_file_may_be_kept(tmp_path, monkeypatch):
    monkeypatch.setattr(paging, "WINDOW_BYTES", 1 << 16)
    table = _mapped(tmp_path / "table", 1 << 15)
    assert paging.has_file(table)
    kept = list(paging.chunks(table, 1 << 14))
    np.testing.assert_array_equal(np.concatenate(kept), table)
    addresses = [chunk.__array_interface__["data"][0] for chunk in paging.chunks(table, 1 << 14)]
    assert len(set(addresses)) == 2, "memory that nobody holds any more is used again"


@pytest.mark.parametrize(
    "part_of", [lambda chunk: chunk[1:2], memoryview, lambda chunk: chunk.view(np.uint8).reshape(-1)]
)
def test_a_part_of_a_chunk_keeps_its_rows_while_others_are_read(part_of, tmp_path, monkeypatch):
    monkeypatch.setattr(paging, "WINDOW_BYTES", 1)
    TABLE.tofile(tmp_path / "rows")
    large = map_file(tmp_path / "rows", np.dtype("<f4"), "rows").reshape(TABLE.shape)
    parts = [part_of(chunk) for chunk in paging.chunks(large, 12_000)]
    wanted = [part_of(TABLE[start : start + 1000]) for start in range(0, 5000, 1000)]
    assert [bytes(part) for part in parts] == [bytes(part) for part in wanted]


def test_a_large_file_that_becomes_shorter_between_chunks_is_an_error_of_ours(tmp_path, monkeypatch):
    monkeypatch.setattr(paging, "WINDOW_BYTES", 1 << 16)
    table = _mapped(tmp_path / "table", 1 << 15)
    chunks = paging.chunks(table, 1 << 14)
    next(chunks)
    os.truncate(tmp_path / "table", 1 << 15)
    with pytest.raises(WeightsError, match="became shorter while it was read"):
        list(chunks)
    with pytest.raises(WeightsError, match="became shorter while it was read"):
        paging.guarded(table)


def test_a_field_of_records_is_copied_with_its_gaps(tmp_path):
    record = np.dtype([("key", "<i8"), ("vector", "<f4", (3,))])
    rows = np.zeros(1000, record)
    rows["key"], rows["vector"] = np.arange(1000), np.arange(3000).reshape(1000, 3)
    rows.tofile(tmp_path / "table")
    with open(tmp_path / "table", "rb") as file:
        mapped = np.frombuffer(paging.Map.of(file.fileno()), record)
    for field in ("key", "vector"):
        found = paging.copied(mapped[field][100:200])
        np.testing.assert_array_equal(found, rows[field][100:200])
        assert paging.map_of(found) is None
