"""Rows put in order block by block, each block in memory."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from hugectr2onnx.backend.reorder import by_block
from hugectr2onnx.backend.reorder.by_block import ByBlock, block_bytes
from hugectr2onnx.backend.saving.direct_io import FileRegion
from hugectr2onnx.tables.gathered import Gathered

from .moved_rows import expected, part


def run(table: Gathered, path: Path) -> tuple[np.ndarray, ByBlock, list[int]]:
    moved: list[int] = []
    with open(path, "w+b") as file:
        work = ByBlock(table, FileRegion(file.fileno(), 0), moved.append)
        for _ in work.run():
            pass
    return np.fromfile(path, np.float32).reshape(-1, 2), work, moved


@pytest.fixture(autouse=True)
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    """Blocks of 4 rows of 8 bytes: two blocks take 64 bytes, and a scan looks at 3 rows in one go."""
    for name, size in (("BLOCK_MEMORY", 64), ("BLOCK_MEMORY_PER_ROW", 0), ("MIN_BLOCKS", 1), ("_BLOCK_BYTES", 24)):
        monkeypatch.setattr(by_block, name, size)
    monkeypatch.setattr(by_block, "TAKEN_BYTES", 16)


def test_every_row_gets_to_its_place_and_a_place_without_one_is_filled(tmp_path: Path) -> None:
    found, work, _ = run(part(), tmp_path / "rows")
    assert (work.rows, work.count) == (4, 4)
    assert found.tolist() == expected().tolist()


def test_rows_that_go_nowhere_are_left_out(tmp_path: Path) -> None:
    found, _, _ = run(part(keep=5), tmp_path / "rows")
    assert found.tolist() == expected(keep=5).tolist()


def test_every_byte_of_the_result_is_counted_once(tmp_path: Path) -> None:
    _, _, moved = run(part(), tmp_path / "rows")
    assert sum(moved) == 14 * 8


def test_two_blocks_and_the_block_numbers_stay_within_the_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(by_block, "BLOCK_MEMORY_PER_ROW", 7)
    assert block_bytes(part()) == (64 + 7 * 14) // 2
    monkeypatch.setattr(by_block, "MIN_BLOCKS", 4)
    assert block_bytes(part()) == 14 * 8 // 4
