"""Key maps on disk: from keys to rows without the model."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hugectr2onnx.backend.saving.key_file import KeyFile, KeyMapper, own_maps
from hugectr2onnx.errors import FeedError

MOST, LEAST = 2**63 - 1, -(2**63)


def write(map: KeyFile, model: Path) -> Path:
    path = map.path(model)
    path.write_bytes(b"".join(map.pieces()))
    assert path.stat().st_size == map.size
    return path


def mapper(folder: Path, keys: list[int], offsets: tuple[int, ...] = ()) -> KeyMapper:
    return KeyMapper.open(write(KeyFile("data1", "emb", np.array(keys, np.int64), offsets), folder / "a.onnx"))


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
    "content",
    [
        b"",
        b"h2okeys1",
        b"h2okeys1" + b"x" * 9000,
        b"\xff" * 5000,
        b"h2okeys1" + b"[]".ljust(4088),
        b"h2okeys1" + b"[" * 4088,
        b"h2okeys2",
        b"h2okeys2" + b"\xff" * 9000,
        b"h2okeys2" + (4096).to_bytes(8, "little") + b"{}".ljust(4080),
    ],
)
def test_files_of_another_kind(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "a").write_bytes(content)
    with pytest.raises(FeedError):
        KeyMapper.open(tmp_path / "a")


def test_a_truncated_map(tmp_path: Path) -> None:
    path = write(KeyFile("k", "e", np.arange(5)), tmp_path / "m")
    path.write_bytes(path.read_bytes()[:-8])
    with pytest.raises(FeedError, match="no complete key map"):
        KeyMapper.open(path)


def test_no_file(tmp_path: Path) -> None:
    with pytest.raises(FeedError, match="Check the path"):
        KeyMapper.open(tmp_path / "none")


def test_thousands_of_slots_take_a_larger_head(tmp_path: Path) -> None:
    offsets = tuple(range(0, 10**15, 10**12))
    found = mapper(tmp_path, [3, 10**12 + 3], offsets).rows(np.full((1, len(offsets), 1), 3))
    assert found[0, :4, 0].tolist() == [0, 1, 2, 2]
    assert (tmp_path / "a.onnx.data1.keys").read_bytes().startswith(b"h2okeys2")


def test_a_map_of_few_slots_is_as_it_always_was(tmp_path: Path) -> None:
    content = write(KeyFile("k", "e", np.array([5, -1, 2]), (0, 7)), tmp_path / "m").read_bytes()
    text = b'{"input": "k", "table": "e", "rows": 3, "keys": 2, "offsets": [0, 7]}'
    assert content == b"h2okeys1" + text.ljust(4088) + np.array([2, 5, 2, 0], "<i8").tobytes()


def test_each_input_has_a_file_of_its_own() -> None:
    inputs = ["a/b", "a_b", "a%2Fb", "a\\b", "a.b", "ä b"]
    names = [KeyFile(name, "e", np.arange(1)).path(Path("m")).name for name in inputs]
    assert names == ["m.a%2Fb.keys", "m.a_b.keys", "m.a%252Fb.keys", "m.a%5Cb.keys", "m.a.b.keys", "m.ä b.keys"]


def test_the_maps_of_a_model_are_known_from_those_of_others(tmp_path: Path) -> None:
    own = [write(KeyFile(name, "e", np.arange(2)), tmp_path / "m") for name in ("a/b", "c")]
    old = tmp_path / "m.x_y.keys"  # as the map of x/y was once called
    write(KeyFile("x/y", "e", np.arange(2)), tmp_path / "m").rename(old)
    write(KeyFile("b", "e", np.arange(2)), tmp_path / "m.a")
    write(KeyFile("d", "e", np.arange(2)), tmp_path / "n").rename(tmp_path / "m.d2.keys")
    (tmp_path / "m.e.keys").write_bytes(b"somebody's")
    (tmp_path / "m.f.keys").mkdir()
    assert own_maps(tmp_path / "m") == {*own, old}
