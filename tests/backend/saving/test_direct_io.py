"""Writing past the system's cache: what goes that way, and what does not."""

from __future__ import annotations

import errno
import fcntl
import hashlib
import os
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from hugectr2onnx.backend.onnx.artifact import Blob
from hugectr2onnx.backend.reorder import by_block, reorder
from hugectr2onnx.backend.saving.direct_io import _PAGE, FileRegion, open_direct, whole_pages
from hugectr2onnx.backend.saving.model_file import Checksum, ModelFile
from hugectr2onnx.tables import paging
from hugectr2onnx.tables.gathered import Gathered


@pytest.fixture
def target(tmp_path: Path) -> Iterator[FileRegion]:
    """An empty file that can be written past the cache."""
    with open(tmp_path / "out", "w+b") as file:
        direct = open_direct(tmp_path / "out")
        if direct is None or not takes_pages(direct):
            pytest.skip("this file system has no way past its cache")
        file.truncate(0)
        yield FileRegion(file.fileno(), 0, direct)
        os.close(direct)


def takes_pages(direct: int) -> bool:
    try:
        return os.pwrite(direct, pages(1).data, 0) == _PAGE
    except OSError:
        return False


@pytest.fixture
def ways(monkeypatch: pytest.MonkeyPatch) -> list[tuple[bool, int, int]]:
    """Every write: whether it went past the cache, how many bytes it took, and where they went."""
    seen: list[tuple[bool, int, int]] = []
    pwrite = os.pwrite

    def watched(descriptor: int, data: memoryview, offset: int) -> int:
        count = pwrite(descriptor, data, offset)
        seen.append((bool(fcntl.fcntl(descriptor, fcntl.F_GETFL) & os.O_DIRECT), count, offset))
        return count

    monkeypatch.setattr(os, "pwrite", watched)
    return seen


def pages(count: int, *, more: int = 0) -> np.ndarray:
    """Random bytes that begin with a page of memory."""
    memory = paging.buffer((count * _PAGE + more,), np.dtype(np.uint8))
    memory[:] = np.random.default_rng(0).integers(0, 256, len(memory), np.uint8)
    return memory


def content(target: FileRegion) -> bytes:
    return os.pread(target.descriptor, 1 << 20, 0)


def test_whole_pages_go_past_the_cache_and_the_rest_through_it(
    target: FileRegion, ways: list[tuple[bool, int, int]]
) -> None:
    rows = pages(3, more=5)
    target.write(rows, 2 * _PAGE)
    assert ways == [(True, 3 * _PAGE, 2 * _PAGE), (False, 5, 5 * _PAGE)]
    assert content(target) == bytes(2 * _PAGE) + rows.tobytes()


@pytest.mark.parametrize(("at", "skipped"), [(1, 0), (0, 1)], ids=["in the file", "in memory"])
def test_what_does_not_begin_with_a_page_goes_through_the_cache(
    target: FileRegion, ways: list[tuple[bool, int, int]], at: int, skipped: int
) -> None:
    rows = pages(2)[skipped:]
    target.write(rows, at)
    assert ways == [(False, len(rows), at)]
    assert content(target) == bytes(at) + rows.tobytes()


def test_both_ways_meet_in_one_page(target: FileRegion) -> None:
    """A head that is not yet on the disk, pages behind it, and a tail that is written last."""
    rows = pages(2, more=7)
    target.write(np.full(_PAGE, 1, np.uint8), 0)
    target.write(rows, _PAGE)
    target.write(np.full(9, 2, np.uint8), 3 * _PAGE + 7)
    assert content(target) == b"\1" * _PAGE + rows.tobytes() + b"\2" * 9


def test_a_disk_that_refuses_pages_gets_the_bytes_through_the_cache(
    target: FileRegion, monkeypatch: pytest.MonkeyPatch
) -> None:
    pwrite = os.pwrite

    def refuse(descriptor: int, data: memoryview, offset: int) -> int:
        if descriptor == target.direct and offset:
            raise OSError(errno.EINVAL, "larger pages")
        return pwrite(descriptor, data[:_PAGE], offset)

    monkeypatch.setattr(os, "pwrite", refuse)
    rows = pages(3)
    target.write(rows, 0)
    assert content(target) == rows.tobytes()


def test_a_full_disk_is_an_error_on_both_ways(target: FileRegion, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(descriptor: int, data: memoryview, offset: int) -> int:
        raise OSError(errno.ENOSPC, "full")

    monkeypatch.setattr(os, "pwrite", full)
    with pytest.raises(OSError, match="full"):
        target.write(pages(1), 0)


def test_a_file_system_without_a_way_past_its_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(path: str, flags: int) -> int:
        raise OSError(errno.EINVAL, "no O_DIRECT")

    (tmp_path / "out").touch()
    monkeypatch.setattr(os, "open", refuse)
    assert open_direct(tmp_path / "out") is None


@pytest.mark.parametrize(
    ("rows", "row_bytes", "expected"),
    [(1000, 64, 960), (64, 64, 64), (63, 64, 63), (5000, 12, 4096), (7, 4096, 7), (7, 8192, 7), (9, 0, 9), (3, 12, 3)],
)
def test_rows_that_fill_whole_pages(rows: int, row_bytes: int, expected: int) -> None:
    assert whole_pages(rows, row_bytes) == expected


@pytest.mark.parametrize("largest", [1 << 30, -1], ids=["at random", "in blocks"])
def test_rows_put_in_order_go_past_the_cache(
    largest: int, target: FileRegion, ways: list[tuple[bool, int, int]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reorder, "AT_RANDOM", largest)
    monkeypatch.setattr(reorder, "available_memory", lambda: 1 << 40)
    monkeypatch.setattr(reorder, "_PIECE_BYTES", 2 * 1024 * 12)
    monkeypatch.setattr(by_block, "BLOCK_MEMORY", 2 * 2048 * 12)
    table = np.random.default_rng(0).random((5000, 3), np.float32)
    order = np.random.default_rng(1).permutation(5000).astype(np.int32)
    for _ in reorder.write(Gathered(table, order), target, lambda count: None):
        pass
    assert content(target) == table[order].tobytes()
    assert sum(count for direct, count, _ in ways if direct) == 60_000 // _PAGE * _PAGE


@pytest.mark.usefixtures("target")
def test_a_large_file_is_appended_past_the_cache(
    tmp_path: Path, ways: list[tuple[bool, int, int]], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A head of a page, a table, a tail, and one more table where no page begins."""
    monkeypatch.setattr("hugectr2onnx.backend.saving.direct_io._DIRECT_BYTES", 1)
    monkeypatch.setattr("hugectr2onnx.backend.saving.model_file.SMALL", 1000)
    rows = pages(3, more=8)
    with open(tmp_path / "out", "w+b") as file:
        with ModelFile(file.fileno(), tmp_path / "out", Checksum.SHA256) as model:
            model.reserve(8 * _PAGE)
            for piece in (b"h" * _PAGE, Blob((rows,)), b"tail", Blob((rows,))):
                model.append(piece)
        file.truncate(model.size)
    expected = b"h" * _PAGE + rows.tobytes() + b"tail" + rows.tobytes()
    assert (tmp_path / "out").read_bytes() == expected
    assert (model.size, model.checksum()) == (len(expected), hashlib.sha256(expected).hexdigest())
    assert [way for way in ways if way[0]] == [(True, 3 * _PAGE, _PAGE)]
