"""Key maps on disk: from keys to rows without the model."""

from __future__ import annotations

import binascii
import os
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from hugectr2onnx.backend.saving.key_file import KeyFile, KeyMapper
from hugectr2onnx.errors import FeedError

MOST, LEAST = 2**63 - 1, -(2**63)


def write(map: KeyFile, model: Path) -> Path:
    path = model.with_name(model.name + map.suffix)
    path.write_bytes(b"".join(map.pieces()))
    assert path.stat().st_size == map.size
    return path


def mapper(folder: Path, keys: list[int], offsets: tuple[int, ...] = ()) -> KeyMapper:
    return KeyMapper.open(write(KeyFile("data1", "emb", np.array(keys, np.int64), offsets), folder / "a.onnx"))


@settings(suppress_health_check=[HealthCheck.too_slow], deadline=None)  # a busy machine is no fault of ours
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
    with pytest.raises(
        FeedError, match=r"keys are .*; the map (takes signed integers|wants \[\.\.\., 2 slots, max_nnz\])"
    ):
        mapper(tmp_path, [1], (0, 10)).rows(keys)


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"h2okeys3",
        b"h2okeys3" + b"x" * 9000,
        b"\xff" * 5000,
        b"h2okeys1" + b"{}".ljust(4088),
        b"h2okeys3" + (4096).to_bytes(8, "little") + b"[]".ljust(4080),
        b"h2okeys3" + (4096).to_bytes(8, "little") + b"[" * 4080,
        b"h2okeys3" + b"\xff" * 9000,
        b"h2okeys3" + (4096).to_bytes(8, "little") + b"{}".ljust(4080),
        b"h2okeys3"
        + (4096).to_bytes(8, "little")
        + b'{"input": "a", "rows": 1e9, "keys": 0, "offsets": []}'.ljust(4088),
        b"h2okeys3"
        + (4096).to_bytes(8, "little")
        + b'{"input": "a", "rows": 2, "keys": -1, "offsets": []}'.ljust(4088),
        b"h2okeys3" + (4096).to_bytes(8, "little") + b'{"input": 5, "rows": 2, "keys": 0, "offsets": []}'.ljust(4088),
    ],
)
def test_files_of_another_kind(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "a").write_bytes(content)
    with pytest.raises(FeedError, match="is not a key map of hugectr2onnx"):
        KeyMapper.open(tmp_path / "a")


def test_a_truncated_map(tmp_path: Path) -> None:
    path = write(KeyFile("k", "e", np.arange(5)), tmp_path / "m")
    path.write_bytes(path.read_bytes()[:-8])
    with pytest.raises(FeedError, match=r"it has 4,176 bytes instead of 4,184; save the model again"):
        KeyMapper.open(path)


def test_no_file(tmp_path: Path) -> None:
    with pytest.raises(FeedError, match="none: no such file, expected a key map"):
        KeyMapper.open(tmp_path / "none")


def test_thousands_of_slots_take_a_larger_head(tmp_path: Path) -> None:
    offsets = tuple(range(0, 10**15, 10**12))
    found = mapper(tmp_path, [3, 10**12 + 3], offsets).rows(np.full((1, len(offsets), 1), 3))
    assert found[0, :4, 0].tolist() == [0, 1, 2, 2]
    assert (tmp_path / "a.onnx.data1.keys").read_bytes()[8:16] == (5 * 4096).to_bytes(8, "little")


def test_the_bytes_of_a_map(tmp_path: Path) -> None:
    content = write(KeyFile("k", "e", np.array([5, -1, 2]), (0, 7)), tmp_path / "m").read_bytes()
    text = b'{"input": "k", "table": "e", "rows": 3, "keys": 2, "offsets": [0, 7]}'
    columns = np.array([2, 5, 2, 0], "<i8").tobytes()
    checksum = binascii.crc32(columns).to_bytes(8, "little")
    assert content == b"h2okeys3" + (4096).to_bytes(8, "little") + text.ljust(4080) + columns + checksum


def test_each_input_has_a_file_of_its_own() -> None:
    inputs = ["a/b", "a_b", "a%2Fb", "a\\b", "a.b", "ä b"]
    suffixes = [KeyFile(name, "e", np.arange(1)).suffix for name in inputs]
    assert suffixes == [".a%2Fb.keys", ".a_b.keys", ".a%252Fb.keys", ".a%5Cb.keys", ".a.b.keys", ".ä b.keys"]


@pytest.mark.parametrize(
    ("columns", "message"),
    [
        ([3, 2, 0, 1], "its keys do not ascend"),
        ([3, 3, 0, 1], "its keys do not ascend"),
        ([-1, 3, 0, 1], "its keys do not ascend"),
        ([2, 3, 0, 2], "it names rows outside of the table, which has 2"),
        ([2, 3, -1, 1], "it names rows outside of the table, which has 2"),
        ([2, 4, 0, 1], "its checksum is wrong: the file is damaged"),
    ],
)
def test_a_map_that_would_answer_with_wrong_rows(tmp_path: Path, columns: list[int], message: str) -> None:
    path = write(KeyFile("k", "e", np.array([2, 3])), tmp_path / "m")
    content = path.read_bytes()
    path.write_bytes(content[:4096] + np.array(columns, "<i8").tobytes() + content[-8:])
    with pytest.raises(FeedError, match=message):
        KeyMapper.open(path)


def test_a_pipe_in_place_of_a_map(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(FeedError, match="pipe: is a pipe, expected a key map"):
        KeyMapper.open(tmp_path / "pipe")
