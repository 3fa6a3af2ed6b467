"""Rows in another order: at random, in windows and through a scratch file, all the same bytes."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest

from hugectr2onnx.backend import reorder
from hugectr2onnx.backend.artifact import Blob
from hugectr2onnx.backend.reorder import Scratch
from hugectr2onnx.ir import paging
from hugectr2onnx.ir.gathered import Gathered

ROWS = 1000
WAYS = ("random", "windows", "scratch")


@pytest.fixture(params=["array", "map", "records"])
def table(request: pytest.FixtureRequest, tmp_path: Path) -> np.ndarray:
    """In memory, in a file of its own, and with a key between the rows as in single-file tables."""
    rows = np.random.default_rng(0).random((ROWS, 3), np.float32)
    if request.param == "map":
        rows.tofile(tmp_path / "rows")
        return np.memmap(tmp_path / "rows", np.float32, "r", shape=(ROWS, 3))
    if request.param == "records":
        records = np.zeros(ROWS, [("key", "<u4"), ("vector", "<f4", (3,))])
        records["vector"] = rows
        return records["vector"]
    return rows


ORDERS = {
    "permuted": np.random.default_rng(1).permutation(ROWS).astype(np.int32),
    "with holes": np.where(np.arange(1500) % 3 == 0, -1, np.random.default_rng(2).permutation(1500) % ROWS),
    "a few": np.array([5, -1, 999, 0], np.int32),
    "none": np.empty(0, np.int32),
    "only holes": np.full(7, -1, np.int32),
}
ORDERS["with holes"] = np.concatenate([np.random.default_rng(3).permutation(ROWS), np.full(300, -1)])[::-1].astype(
    np.int64
)


@pytest.mark.parametrize("order", ORDERS.values(), ids=ORDERS)
@pytest.mark.parametrize("way", WAYS)
def test_every_way_gives_the_same_bytes(
    table: np.ndarray, order: np.ndarray, way: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, size in (("BLOCK_BYTES", 1200), ("SCRATCH_CHUNK", 500)):
        monkeypatch.setattr(reorder, name, size)
    monkeypatch.setattr(paging, "WINDOW_BYTES", 800)
    monkeypatch.setattr(reorder, "AT_RANDOM", 1 << 30 if way == "random" else -1)
    monkeypatch.setattr(reorder, "free_memory", lambda: 0 if way == "scratch" else 1 << 40)
    expected = np.array([[0.5] * 3 if row < 0 else table[row] for row in order], np.float32).reshape(-1, 3)
    with open(tmp_path / "out", "w+b") as file:
        file.write(b"head")
        file.flush()
        for chunk in Blob((Gathered(table, order, 0.5), np.ones((1, 3), np.float32))).chunks(
            100, Scratch(file.fileno(), 4)
        ):
            file.write(chunk)
    assert (tmp_path / "out").read_bytes() == b"head" + expected.tobytes() + np.ones(3, np.float32).tobytes()


def test_without_a_scratch_file_chunks_may_be_kept(table: np.ndarray, monkeypatch: pytest.MonkeyPatch) -> None:
    order = ORDERS["permuted"]
    for limit in (1 << 30, -1):
        monkeypatch.setattr(reorder, "AT_RANDOM", limit)
        assert b"".join(Blob((Gathered(table, order),)).chunks(64)) == table[order].tobytes()


def test_some_rows_and_all_rows_of_a_stack(table: np.ndarray) -> None:
    blob = Blob((Gathered(table, ORDERS["a few"], 0.5), np.ones((1, 3), np.float32)))
    assert blob.shape == (5, 3)
    expected = np.stack([table[5], [0.5] * 3, table[999], table[0], [1.0] * 3]).astype(np.float32)
    np.testing.assert_array_equal(blob.materialise(), expected)
    np.testing.assert_array_equal(blob.rows(np.array([4, 0, 1])), expected[[4, 0, 1]])


def test_rows_of_one_number_as_numbers() -> None:
    table = np.arange(4, dtype=np.float32).reshape(4, 1)
    assert Gathered(table, np.array([2, -1, 0]), 9.0).reshape(-1)[:].tolist() == [2.0, 9.0, 0.0]


def test_a_file_that_is_cut_short_meanwhile(tmp_path: Path) -> None:
    with open(tmp_path / "short", "w+b") as file, pytest.raises(OSError, match="cut short"):
        reorder._read_all(file.fileno(), np.zeros(3), 0)


@pytest.mark.skipif(not os.path.exists("/proc/meminfo"), reason="/proc is Linux's")
def test_free_memory_is_known() -> None:
    assert 0 < reorder.free_memory() < 1 << 60
