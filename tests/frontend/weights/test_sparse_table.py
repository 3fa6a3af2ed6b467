"""Embedding tables: folders of v3.1 and later, single files before."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from hugectr2onnx.errors import HugeCTR2ONNXError, MissingInformationError, WeightsError
from hugectr2onnx.frontend.weights import sparse_table
from hugectr2onnx.frontend.weights.sparse_table import keys_are_unique, open_table
from hugectr2onnx.tables import paging

DISTRIBUTED = "DistributedSlotSparseEmbeddingHash"
LOCALIZED = "LocalizedSlotSparseEmbeddingHash"
ONE_HOT = "LocalizedSlotSparseEmbeddingOneHot"

# Formats 9: vec 2, rows 7 -> [1, 2] and 3 -> [0.5, -1].
KEY = bytes.fromhex("0700000000000000 0300000000000000")
VECTORS = bytes.fromhex("0000803f 00000040 0000003f 000080bf")


def folder(path: Path, key: bytes = KEY, vectors: bytes = VECTORS, slots: bytes | None = None) -> Path:
    path.mkdir(exist_ok=True)
    (path / "key").write_bytes(key)
    (path / "emb_vector").write_bytes(vectors)
    if slots is not None:
        (path / "slot_id").write_bytes(slots)
    return path


class TestFolder:
    def test_the_vector_of_the_specification(self, tmp_path: Path) -> None:
        table = open_table(folder(tmp_path / "t"), 2, DISTRIBUTED)
        assert table.keys.tolist() == [7, 3]
        assert table.vectors.tolist() == [[1, 2], [0.5, -1]]
        assert table.slot_ids is None

    def test_keys_are_signed_64_bit_and_vectors_float32(self, tmp_path: Path) -> None:
        table = open_table(folder(tmp_path / "t", b"\xff" * 8, VECTORS[:8]), 2, DISTRIBUTED)
        assert (table.keys.tolist(), table.keys.dtype.name, table.vectors.dtype.name) == ([-1], "int64", "float32")

    @pytest.mark.parametrize("type_name", [LOCALIZED, ONE_HOT])
    def test_localized_tables_have_slots(self, tmp_path: Path, type_name: str) -> None:
        slots = np.array([1, 0], "<u8").tobytes()
        table = open_table(folder(tmp_path / "t", slots=slots), 2, type_name)
        assert table.slot_ids is not None
        assert table.slot_ids.tolist() == [1, 0]

    def test_slots_may_be_missing(self, tmp_path: Path) -> None:
        assert open_table(folder(tmp_path / "t"), 2, LOCALIZED).slot_ids is None

    def test_a_distributed_table_has_no_use_for_slots(self, tmp_path: Path) -> None:
        assert open_table(folder(tmp_path / "t", slots=b"odd"), 2, DISTRIBUTED).slot_ids is None

    def test_unknown_files_are_ignored(self, tmp_path: Path) -> None:
        (folder(tmp_path / "t") / "Adam.m").write_bytes(b"x")
        assert open_table(tmp_path / "t", 2, DISTRIBUTED).keys.size == 2

    def test_an_empty_table(self, tmp_path: Path) -> None:
        table = open_table(folder(tmp_path / "t", b"", b"", b""), 4, LOCALIZED)
        assert (table.keys.shape, table.vectors.shape) == ((0,), (0, 4))

    def test_nothing_is_copied_and_nothing_can_be_written(self, tmp_path: Path) -> None:
        table = open_table(folder(tmp_path / "t"), 2, DISTRIBUTED)
        assert isinstance(paging.map_of(table.vectors), paging.Map)
        with pytest.raises(ValueError, match="read-only"):
            table.vectors[0] = 0


class TestRefusedFolders:
    def test_another_width_is_named(self, tmp_path: Path) -> None:
        message = r"another table: 2 keys .*4\*4\*2 = 32 bytes .* has 16; the files would fit embedding_vec_size=2"
        with pytest.raises(WeightsError, match=message):
            open_table(folder(tmp_path / "t"), 4, DISTRIBUTED)

    def test_a_truncated_vector(self, tmp_path: Path) -> None:
        with pytest.raises(WeightsError, match="truncated or from another snapshot"):
            open_table(folder(tmp_path / "t", vectors=VECTORS[:-4]), 2, DISTRIBUTED)

    def test_vectors_without_keys(self, tmp_path: Path) -> None:
        with pytest.raises(WeightsError, match="0 keys"):
            open_table(folder(tmp_path / "t", key=b""), 2, DISTRIBUTED)

    def test_a_misaligned_key_file(self, tmp_path: Path) -> None:
        with pytest.raises(WeightsError, match="key: has 15 bytes, no multiple of 8"):
            open_table(folder(tmp_path / "t", key=KEY[:-1]), 2, DISTRIBUTED)

    def test_slots_of_another_snapshot(self, tmp_path: Path) -> None:
        with pytest.raises(WeightsError, match="slot_id: has 1 entries for 2 keys"):
            open_table(folder(tmp_path / "t", slots=bytes(8)), 2, LOCALIZED)

    @pytest.mark.parametrize("name", ["key", "emb_vector"])
    def test_a_missing_file(self, tmp_path: Path, name: str) -> None:
        (folder(tmp_path / "t") / name).unlink()
        with pytest.raises(WeightsError, match=f"{name}: no such file"):
            open_table(tmp_path / "t", 2, DISTRIBUTED)

    def test_a_key_that_is_a_folder(self, tmp_path: Path) -> None:
        (folder(tmp_path / "t") / "key").unlink()
        (tmp_path / "t" / "key").mkdir()
        with pytest.raises(WeightsError, match="key: is a folder"):
            open_table(tmp_path / "t", 2, DISTRIBUTED)

    def test_a_key_that_is_a_pipe(self, tmp_path: Path) -> None:
        (folder(tmp_path / "t") / "key").unlink()
        os.mkfifo(tmp_path / "t" / "key")
        with pytest.raises(WeightsError, match="not a regular file"):
            open_table(tmp_path / "t", 2, DISTRIBUTED)

    @pytest.mark.parametrize("name", ["key", "slot_id"])
    def test_a_link_to_itself(self, tmp_path: Path, name: str) -> None:
        (folder(tmp_path / "t") / name).unlink(missing_ok=True)
        (tmp_path / "t" / name).symlink_to(tmp_path / "t" / name)
        with pytest.raises(WeightsError, match="cannot be read"):
            open_table(tmp_path / "t", 2, LOCALIZED)

    @pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
    def test_a_folder_without_permission(self, tmp_path: Path) -> None:
        folder(tmp_path / "t").chmod(0)
        with pytest.raises(WeightsError, match="Permission denied"):
            open_table(tmp_path / "t", 2, DISTRIBUTED)

    def test_no_table_at_all(self, tmp_path: Path) -> None:
        with pytest.raises(WeightsError, match="no such file"):
            open_table(tmp_path / "absent", 2, DISTRIBUTED)

    @pytest.mark.parametrize("vec_size", [0, -1, 2**40])
    def test_absurd_widths(self, tmp_path: Path, vec_size: int) -> None:
        with pytest.raises(WeightsError, match="out of bounds"):
            open_table(folder(tmp_path / "t"), vec_size, DISTRIBUTED)


class TestSwappedFiles:
    """With 2 floats a row, keys and vectors take the same bytes: only the values tell."""

    WEIGHTS = np.random.default_rng(0).normal(0, 0.1, (50, 2)).astype("<f4")
    IDS = np.arange(50, dtype="<i8")
    HASHES = np.random.default_rng(1).integers(0, 2**63 - 1, 50)

    @pytest.mark.parametrize(
        ("keys", "rows"), [(IDS, 3), (IDS, 50), (IDS + 10**6, 1), (HASHES, 50)], ids=["few", "ids", "offset", "hashes"]
    )
    @pytest.mark.parametrize("type_name", [DISTRIBUTED, LOCALIZED])
    def test_are_refused(self, tmp_path: Path, type_name: str, keys: np.ndarray, rows: int) -> None:
        right = keys[:rows].tobytes(), self.WEIGHTS[:rows].tobytes()
        assert open_table(folder(tmp_path / "t", *right), 2, type_name).keys.size == rows
        with pytest.raises(WeightsError, match="are the two files swapped"):
            open_table(folder(tmp_path / "t", *right[::-1]), 2, type_name)

    @pytest.mark.parametrize(
        "vectors",
        [
            0 * WEIGHTS,
            1e-38 * WEIGHTS,
            1e20 * WEIGHTS,
            np.nan * WEIGHTS,
            np.copysign(np.inf, WEIGHTS),
            0 * WEIGHTS + 1e-40,
        ],
        ids=["zeros", "tiny", "huge", "nan", "infinite", "equal"],
    )
    @pytest.mark.parametrize("keys", [IDS, HASHES, IDS + 10**9, HASHES % 2**32, IDS - 25])
    @pytest.mark.parametrize("rows", [1, 3, 50])
    def test_odd_vectors_alone_are_no_proof(
        self, tmp_path: Path, rows: int, keys: np.ndarray, vectors: np.ndarray
    ) -> None:
        files = keys[:rows].astype("<i8").tobytes(), vectors[:rows].astype("<f4").tobytes()
        assert open_table(folder(tmp_path / "t", *files), 2, DISTRIBUTED).keys.size == rows


def records(key: str, keys: list[int], vectors: list[list[float]], slots: list[int] | None = None) -> bytes:
    """Formats 2.3, written by hand: packed, without padding."""
    parts = []
    for row, value in enumerate(keys):
        slot = np.array([slots[row]], "<u8").tobytes() if slots else b""
        parts.append(np.array([value], key).tobytes() + slot + np.array(vectors[row], "<f4").tobytes())
    return b"".join(parts)


class TestSingleFile:
    @pytest.mark.parametrize("key", ["<u4", "<i8"])
    def test_the_key_width_is_told_by_the_file_size(self, tmp_path: Path, key: str) -> None:
        (tmp_path / "t").write_bytes(records(key, [7, 3], [[1, 2], [0.5, -1]]))
        table = open_table(tmp_path / "t", 2, DISTRIBUTED)
        assert table.keys.tolist() == [7, 3]
        assert table.vectors.tolist() == [[1, 2], [0.5, -1]]

    def test_localized_records_have_a_slot_between(self, tmp_path: Path) -> None:
        (tmp_path / "t").write_bytes(records("<u4", [7, 3], [[1, 2], [0.5, -1]], [5, 4]))
        table = open_table(tmp_path / "t", 2, LOCALIZED)
        assert table.slot_ids is not None
        assert (table.keys.tolist(), table.slot_ids.tolist()) == ([7, 3], [5, 4])

    def test_32_bit_keys_are_extended_with_zeros(self, tmp_path: Path) -> None:
        (tmp_path / "t").write_bytes(records("<u4", [2**32 - 2], [[1, 2]]))
        table = open_table(tmp_path / "t", 2, DISTRIBUTED)
        assert (table.keys.tolist(), table.keys.dtype.name) == ([4294967294], "int64")

    def test_an_empty_file(self, tmp_path: Path) -> None:
        (tmp_path / "t").touch()
        assert open_table(tmp_path / "t", 2, DISTRIBUTED).vectors.shape == (0, 2)

    @pytest.mark.parametrize(("key", "rows"), [("<u4", 6), ("<i8", 4)])
    def test_where_both_widths_divide_the_values_tell(self, tmp_path: Path, key: str, rows: int) -> None:
        # vec 1: records of 8 or 12 bytes, and 48 bytes are both 6 and 4 of them.
        vectors = [[0.25 * row + 0.1] for row in range(rows)]
        (tmp_path / "t").write_bytes(records(key, [10 * row + 3 for row in range(rows)], vectors))
        assert open_table(tmp_path / "t", 1, DISTRIBUTED).keys.tolist() == [10 * row + 3 for row in range(rows)]

    def test_where_the_values_do_not_tell_the_user_is_asked(self, tmp_path: Path) -> None:
        (tmp_path / "t").write_bytes(bytes(48))
        with pytest.raises(MissingInformationError, match=r"4-byte keys \(6 rows\).*8-byte keys \(4 rows\).*I32"):
            open_table(tmp_path / "t", 1, DISTRIBUTED)

    def test_the_user_answers(self, tmp_path: Path) -> None:
        (tmp_path / "t").write_bytes(bytes(48))
        assert open_table(tmp_path / "t", 1, DISTRIBUTED, key_bytes=8).keys.size == 4

    def test_an_answer_that_does_not_fit(self, tmp_path: Path) -> None:
        (tmp_path / "t").write_bytes(records("<u4", [7], [[1, 2]]))
        with pytest.raises(WeightsError, match=r"12 bytes, no multiple of a record of 16 bytes \(8-byte keys\)"):
            open_table(tmp_path / "t", 2, DISTRIBUTED, key_bytes=8)

    def test_neither_width_fits(self, tmp_path: Path) -> None:
        (tmp_path / "t").write_bytes(bytes(13))
        with pytest.raises(WeightsError, match=r"no multiple of a record of 12 bytes .* or 16 bytes"):
            open_table(tmp_path / "t", 2, DISTRIBUTED)


class TestKeysAreUnique:
    @pytest.mark.parametrize(
        ("keys", "unique"),
        [
            ([], True),
            ([5], True),
            ([1, 2, 9], True),
            ([9, 2, 1], True),
            ([2, 9, 2], False),
            ([3, 3], False),
            ([2**62, -(2**62), 7], True),
            ([2**62, -(2**62), 2**62], False),
            ([2**63 - 1, -(2**63)], True),
        ],
    )
    def test_small(self, keys: list[int], unique: bool) -> None:
        assert keys_are_unique(np.array(keys, np.int64)) is unique

    @pytest.mark.parametrize("unique", [True, False])
    def test_across_the_borders_of_chunks(self, monkeypatch: pytest.MonkeyPatch, unique: bool) -> None:
        monkeypatch.setattr(sparse_table, "_CHUNK", 4)
        keys = np.arange(20)
        if not unique:
            keys[8] = keys[7]
        assert keys_are_unique(keys) is unique
        assert keys_are_unique(keys[::-1]) is unique


@settings(max_examples=80, deadline=None, derandomize=True, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    files=st.lists(st.binary(max_size=32), min_size=3, max_size=3),
    vec_size=st.integers(1, 3),
    type_name=st.sampled_from([DISTRIBUTED, LOCALIZED, ONE_HOT]),
    single=st.booleans(),
)
def test_any_bytes_give_a_table_or_our_error(
    tmp_path: Path, files: list[bytes], vec_size: int, type_name: str, single: bool
) -> None:
    key, vectors, slots = files
    path = folder(tmp_path / "folder", key, vectors, slots)
    if single:
        path = tmp_path / "file"
        path.write_bytes(key + vectors + slots)
    try:
        table = open_table(path, vec_size, type_name)
        assert table.vectors.shape == (table.keys.size, vec_size)
    except HugeCTR2ONNXError:
        pass
