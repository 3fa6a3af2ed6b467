"""Key maps on disk: from keys to rows without the model."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hugectr2onnx.backend.key_file import KeyFile, KeyMapper
from hugectr2onnx.errors import FeedError

MOST, LEAST = 2**63 - 1, -(2**63)


def mapper(folder: Path, keys: list[int], offsets: tuple[int, ...] = ()) -> KeyMapper:
    record = KeyFile("data1", "emb", np.array(keys, np.int64), offsets).save(folder / "a.onnx")
    assert (folder / record.name).stat().st_size == record.bytes
    return KeyMapper.open(folder / record.name)


@given(st.lists(st.integers(LEAST, MOST), unique=True, max_size=30))
def test_every_key_has_its_row(tmp_path_factory: pytest.TempPathFactory, keys: list[int]) -> None:
    asked = [*keys, 0, 5, -1, LEAST, MOST]
    expected = [-1 if key < 0 else keys.index(key) if key in keys else len(keys) for key in asked]
    assert mapper(tmp_path_factory.mktemp("maps"), keys).rows(asked).tolist() == expected


def test_the_shape_stays(tmp_path: Path) -> None:
    assert mapper(tmp_path, [7, 3]).rows(np.array([[[3], [9]]], np.int32)).tolist() == [[[1], [2]]]


def test_offsets_are_added_slot_by_slot(tmp_path: Path) -> None:
    found = mapper(tmp_path, [10, 3, 13], (0, 10)).rows([[[3, -1], [3, 0]], [[10, 4], [MOST, LEAST]]])
    assert found.tolist() == [[[1, -1], [2, 0]], [[0, 3], [3, -1]]]


@pytest.mark.parametrize("keys", [[0.5], ["a"], np.array([1], np.uint64), [[[1], [2], [3]]]])
def test_what_are_no_keys(tmp_path: Path, keys: object) -> None:
    with pytest.raises(FeedError):
        mapper(tmp_path, [1], (0, 10)).rows(keys)


@pytest.mark.parametrize(
    "content", [b"", b"h2okeys1", b"h2okeys1" + b"x" * 9000, b"\xff" * 5000, b"h2okeys1" + b"[]".ljust(4088)]
)
def test_files_of_another_kind(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "a").write_bytes(content)
    with pytest.raises(FeedError):
        KeyMapper.open(tmp_path / "a")


def test_a_truncated_map(tmp_path: Path) -> None:
    record = KeyFile("k", "e", np.arange(5)).save(tmp_path / "m")
    path = tmp_path / record.name
    path.write_bytes(path.read_bytes()[:-8])
    with pytest.raises(FeedError, match="no complete key map"):
        KeyMapper.open(path)


def test_no_file(tmp_path: Path) -> None:
    with pytest.raises(FeedError, match="Check the path"):
        KeyMapper.open(tmp_path / "none")
