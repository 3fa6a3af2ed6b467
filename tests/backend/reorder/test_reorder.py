"""Rows in another order: at random, in blocks and in two passes, all the same bytes."""

from __future__ import annotations

import threading
from pathlib import Path

import numpy as np
import pytest

from hugectr2onnx.backend.onnx.artifact import Blob
from hugectr2onnx.backend.reorder import by_block, by_bucket, reorder
from hugectr2onnx.backend.reorder.ordered_map import ordered_map
from hugectr2onnx.backend.saving.direct_io import FileRegion
from hugectr2onnx.frontend.weights.mapped_file import map_file
from hugectr2onnx.tables import paging
from hugectr2onnx.tables.gathered import Gathered

ROWS = 1000
WAYS = {"random": (1 << 30, 0), "blocks": (-1, 1 << 40), "two passes": (-1, 0)}
"""The largest table that is gathered at random, and the memory that is left."""


@pytest.fixture(params=["array", "map", "large file", "records"])
def table(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> np.ndarray:
    """In memory, in a file of its own, in one that is kept open, and with a key between the rows as in single files."""
    rows = np.random.default_rng(0).random((ROWS, 3), np.float32)
    if request.param == "map":
        rows.tofile(tmp_path / "rows")
        return np.memmap(tmp_path / "rows", np.float32, "r", shape=(ROWS, 3))
    if request.param == "large file":
        monkeypatch.setattr(paging, "WINDOW_BYTES", 1)
        rows.tofile(tmp_path / "rows")
        return map_file(tmp_path / "rows", np.dtype("<f4"), "rows").reshape(ROWS, 3)
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


def written(part: Gathered, path: Path) -> tuple[bytes, list[bytes], list[int]]:
    """What is in the file behind a head of 4 bytes, what was given out, and what was counted."""
    moved: list[int] = []
    with open(path, "w+b") as file:
        file.write(b"head")
        file.flush()
        given = [rows.tobytes() for rows in reorder.write(part, FileRegion(file.fileno(), 4), moved.append)]
    return path.read_bytes()[4:], given, moved


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    """Blocks of 250 rows and buckets of some 80, walked through 41 rows at a time."""
    monkeypatch.setattr(reorder, "AT_RANDOM", -1)
    monkeypatch.setattr(reorder, "_PIECE_BYTES", 500)
    for name, size in (
        ("_BLOCK_BYTES", 500),
        ("BLOCK_MEMORY", 6000),
        ("BLOCK_MEMORY_PER_ROW", 0),
        ("_WRITE_BYTES", 100),
    ):
        monkeypatch.setattr(by_block, name, size)
    for name, size in (("BUCKET_MEMORY", 6000), ("BUCKET_MEMORY_PER_ROW", 0), ("_WRITE_BYTES", 100)):
        monkeypatch.setattr(by_bucket, name, size)


def choose(way: tuple[int, int], monkeypatch: pytest.MonkeyPatch) -> None:
    largest, memory = way
    monkeypatch.setattr(reorder, "AT_RANDOM", largest)
    monkeypatch.setattr(reorder, "available_memory", lambda: memory)


@pytest.mark.usefixtures("small")
@pytest.mark.parametrize("order", ORDERS.values(), ids=ORDERS)
@pytest.mark.parametrize("way", WAYS.values(), ids=WAYS)
@pytest.mark.parametrize("threads", [1, 3])
def test_every_way_gives_the_same_bytes(
    table: np.ndarray,
    order: np.ndarray,
    way: tuple[int, int],
    threads: int,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    choose(way, monkeypatch)
    for module in (
        reorder,
        by_block,
        by_bucket,
    ):
        monkeypatch.setattr(module, "thread_count", lambda: threads)
    expected = np.array([[0.5] * 3 if row < 0 else table[row] for row in order], np.float32).reshape(-1, 3)
    content, given, moved = written(Gathered(table, order, 0.5), tmp_path / "out")
    assert content == b"".join(given) == expected.tobytes()
    assert sum(moved) <= len(content)


@pytest.mark.usefixtures("small")
@pytest.mark.parametrize("way", WAYS.values(), ids=WAYS)
def test_rows_go_where_their_keys_say(
    table: np.ndarray, way: tuple[int, int], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Keys 50, 52, ... in any order, two of them negative: the odd numbers between them are filled."""
    choose(way, monkeypatch)
    keys = np.random.default_rng(4).permutation(ROWS) * 2 + 50
    keys[[3, 700]] = [-1, np.iinfo(np.int64).min]
    order = np.full(2 * ROWS, -1, np.int32)
    order[keys[keys >= 0] - 50] = np.flatnonzero(keys >= 0)
    expected = np.where(order[:, None] < 0, np.float32(0.5), table[order])
    assert written(Gathered(table, order, 0.5, keys=keys, low=50), tmp_path / "out")[0] == expected.tobytes()


@pytest.mark.usefixtures("small")
def test_a_piece_stays_until_the_next_but_one_is_asked_for(table: np.ndarray, tmp_path: Path) -> None:
    before = None
    with open(tmp_path / "out", "w+b") as file:
        for rows in reorder.write(
            Gathered(table, ORDERS["permuted"]), FileRegion(file.fileno(), 0), lambda count: None
        ):
            if before is not None:
                np.testing.assert_array_equal(*before)
            before = rows, rows.copy()


@pytest.mark.usefixtures("small")
def test_a_reader_that_stops_half_way(table: np.ndarray, tmp_path: Path) -> None:
    with open(tmp_path / "out", "w+b") as file:
        rows = reorder.write(Gathered(table, ORDERS["permuted"]), FileRegion(file.fileno(), 0), lambda count: None)
        np.testing.assert_array_equal(next(rows), table[ORDERS["permuted"]][:8])
        rows.close()
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("hugectr2onnx-rows")]


def test_chunks_without_a_file(table: np.ndarray) -> None:
    order = ORDERS["permuted"]
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
        FileRegion(file.fileno(), 0).read(np.zeros(3), 0)


def test_an_error_of_a_thread_is_raised_where_its_result_would_be() -> None:
    def work(number: int) -> int:
        if number == 3:
            raise OSError("no more")
        return number

    results = ordered_map(work, range(9), 2)
    assert [next(results) for _ in range(3)] == [0, 1, 2]
    with pytest.raises(OSError, match="no more"):
        next(results)
