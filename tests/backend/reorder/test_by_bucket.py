"""Rows put in order through the file: pass 1 appends them to buckets, pass 2 sorts each bucket."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from hugectr2onnx.backend.reorder import by_bucket
from hugectr2onnx.backend.reorder.by_bucket import ByBucket
from hugectr2onnx.backend.saving.direct_io import FileRegion

from .moved_rows import expected, part


@pytest.fixture(autouse=True)
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    """Buckets of 4 rows of 8 bytes: with one thread there are six buffers."""
    for name, size in (("BUCKET_MEMORY", 6 * 32), ("BUCKET_MEMORY_PER_ROW", 0), ("_WRITE_BYTES", 1 << 18)):
        monkeypatch.setattr(by_bucket, name, size)
    monkeypatch.setattr(by_bucket, "thread_count", lambda: 1)


def test_every_row_gets_to_its_place_and_a_place_without_one_is_filled(tmp_path: Path) -> None:
    with open(tmp_path / "rows", "w+b") as file:
        work = ByBucket(part(), FileRegion(file.fileno(), 0), lambda count: None)
        given = [rows.copy() for rows in work.run()]
    assert (work.rows, work.count) == (4, 4)
    assert [len(rows) for rows in given] == [4, 4, 4, 2]
    assert np.concatenate(given).tolist() == expected().tolist()
    assert np.fromfile(tmp_path / "rows", np.float32).reshape(-1, 2).tolist() == expected().tolist()


def test_pass_1_fills_each_bucket_from_its_beginning(tmp_path: Path) -> None:
    with open(tmp_path / "rows", "w+b") as file:
        work = ByBucket(part(), FileRegion(file.fileno(), 0), lambda count: None)
        iterator = work.run()
        next(iterator)
        # 13 rows of the source for 14 places: only the bucket of the last two places has one row too few.
        assert work.filled.tolist() == [4, 4, 4, 1]
        iterator.close()  # type: ignore[attr-defined]


def test_rows_that_go_nowhere_are_left_out(tmp_path: Path) -> None:
    with open(tmp_path / "rows", "w+b") as file:
        for _ in ByBucket(part(keep=5), FileRegion(file.fileno(), 0), lambda count: None).run():
            pass
    assert np.fromfile(tmp_path / "rows", np.float32).reshape(-1, 2).tolist() == expected(keep=5).tolist()


def test_each_pass_counts_half_of_the_bytes(tmp_path: Path) -> None:
    moved: list[int] = []
    with open(tmp_path / "rows", "w+b") as file:
        for _ in ByBucket(part(), FileRegion(file.fileno(), 0), moved.append).run():
            pass
    # Chunks of 4, 4, 4 and 1 rows in pass 1; buckets of 4, 4, 4 and 2 rows in pass 2.
    assert moved == [16, 16, 16, 4, 16, 16, 16, 8]
