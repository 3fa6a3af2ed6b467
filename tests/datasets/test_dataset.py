"""Every format of HugeCTR's data, written after the specification, comes out as the inputs that it stands for."""

from __future__ import annotations

import os
import threading
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

import hugectr2onnx
from hugectr2onnx.datasets.dataset import open_dataset
from hugectr2onnx.datasets.files import natural
from hugectr2onnx.datasets.schema import KeyInput, LabelColumns, Schema
from hugectr2onnx.errors import FeedError

pa = pytest.importorskip("pyarrow")
pytest.importorskip("pyarrow.parquet")
from tests.datasets import written  # noqa: E402

ONE_HOT = Schema((LabelColumns("label", 1),), "dense", 2, (KeyInput("wide", 1, 1), KeyInput("deep", 2, 1)))
LISTS = Schema((LabelColumns("label", 1),), "dense", 1, (KeyInput("keys", 2, None),))


def batches(data: object, schema: Schema, **options: object) -> list[dict[str, np.ndarray]]:
    return [{**inputs, **labels} for inputs, labels in open_dataset(data, schema, **options)]


def joined(data: object, schema: Schema, **options: object) -> dict[str, np.ndarray]:
    """All batches as one; keys of several widths are padded."""
    parts = batches(data, schema, **options)
    return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}


def one_hot_columns(rows: int, first: int = 0) -> dict[str, np.ndarray]:
    at = np.arange(first, first + rows)
    return {
        "C2": (at % 7).astype(np.int64),
        "label": (at % 2).astype(np.float32),
        "I2": (at / 8).astype(np.float32),
        "C1": (at % 5 + 100).astype(np.int64),
        "I1": (at / 4).astype(np.float32),
        "C3": (at % 3 + 50).astype(np.int64),
    }


class TestParquet:
    def test_columns_are_taken_by_their_index_not_by_their_name(self, tmp_path: Path) -> None:
        listed = written.parquet_set(
            tmp_path, [one_hot_columns(10)], labels=["label"], conts=["I2", "I1"], cats=["C2", "C1", "C3"]
        )
        found = joined(listed, ONE_HOT)
        at = np.arange(10)
        np.testing.assert_array_equal(found["label"], (at % 2).astype(np.float32)[:, None])
        np.testing.assert_array_equal(found["dense"], np.stack([at / 8, at / 4], 1).astype(np.float32))
        np.testing.assert_array_equal(found["wide"][:, 0, 0], at % 7)
        np.testing.assert_array_equal(found["deep"][:, :, 0], np.stack([at % 5 + 100, at % 3 + 50], 1))

    def test_a_list_in_another_order_is_sorted_by_index_and_said(self, tmp_path: Path) -> None:
        listed = written.parquet_set(
            tmp_path, [one_hot_columns(4)], labels=["label"], conts=["I1", "I2"], cats=["C1", "C2", "C3"]
        )
        dataset = open_dataset(listed, ONE_HOT)
        assert any("another order" in warning for warning in dataset.warnings)
        np.testing.assert_array_equal(next(iter(dataset))[0]["wide"][:, 0, 0], np.arange(4) % 7)

    def test_files_and_row_groups_come_in_order_in_batches_of_one_size(self, tmp_path: Path) -> None:
        tables = [one_hot_columns(250), one_hot_columns(130, 250), one_hot_columns(1, 380)]
        listed = written.parquet_set(
            tmp_path, tables, labels=["label"], conts=["I2", "I1"], cats=["C2", "C1", "C3"], row_group_size=64
        )
        parts = batches(listed, ONE_HOT, batch_size=100)
        assert [len(part["dense"]) for part in parts] == [100, 100, 100, 81]
        np.testing.assert_array_equal(
            np.concatenate([p["dense"][:, 0] for p in parts]), np.arange(381, dtype=np.float32) / 8
        )

    def test_offsets_of_slot_size_array_are_added(self, tmp_path: Path) -> None:
        listed = written.parquet_set(
            tmp_path,
            [{"label": np.zeros(1, np.float32), "a": [3], "b": [2], "c": [1]}],
            labels=["label"],
            conts=[],
            cats=["a", "b", "c"],
        )
        schema = Schema((LabelColumns("label", 1),), None, 0, (KeyInput("keys", 3, 1),))
        found = joined(listed, schema, slot_size_array=[10, 0, 4])
        assert found["keys"][0, :, 0].tolist() == [3, 12, 11]  # formats 9

    def test_lists_are_padded_to_the_width_of_their_batch(self, tmp_path: Path) -> None:
        table = pa.table(
            {
                "label": pa.array([0.0, 1.0, 0.0], pa.float32()),
                "I1": pa.array([0.5, 1.5, 2.5], pa.float32()),
                "a": pa.array([[1, 2, 3], [], [4]], pa.list_(pa.int64())),
                "b": pa.array([[9], [8, 7], []], pa.list_(pa.int32())),
            }
        )
        listed = written.parquet_set(tmp_path, [table], labels=["label"], conts=["I1"], cats=["a", "b"])
        first, second = batches(listed, LISTS, batch_size=2)
        assert first["keys"].tolist() == [[[1, 2, 3], [9, -1, -1]], [[-1, -1, -1], [8, 7, -1]]]
        assert second["keys"].tolist() == [[[4], [-1]]]

    def test_more_keys_than_the_model_takes_are_refused(self, tmp_path: Path) -> None:
        table = pa.table({"label": [0.0], "a": pa.array([[1, 2, 3]], pa.list_(pa.int64()))})
        listed = written.parquet_set(tmp_path, [table], labels=["label"], conts=[], cats=["a"])
        schema = Schema((LabelColumns("label", 1),), None, 0, (KeyInput("keys", 1, 2),))
        with pytest.raises(FeedError, match="sample 0 has 3 keys in slot 0 of keys; the model takes at most 2"):
            batches(listed, schema)

    @pytest.mark.parametrize("kind", ["int32", "uint32", "int64", "uint64"])
    def test_every_type_of_key_keeps_its_bits(self, kind: str, tmp_path: Path) -> None:
        largest = np.iinfo(kind).max
        table = {"label": np.zeros(2, np.float32), "a": np.array([1, largest], kind)}
        listed = written.parquet_set(tmp_path, [table], labels=["label"], conts=[], cats=["a"])
        schema = Schema((LabelColumns("label", 1),), None, 0, (KeyInput("keys", 1, 1),))
        expected = -1 if kind == "uint64" else int(largest)
        assert joined(listed, schema)["keys"][:, 0, 0].tolist() == [1, expected]

    def test_list_columns_of_labels_and_dense_values_fill_several_columns(self, tmp_path: Path) -> None:
        table = pa.table(
            {
                "labels": pa.array([[1.0, 0.0]], pa.list_(pa.float32(), 2)),
                "d": pa.array([[0.5, 0.25]], pa.list_(pa.float32(), 2)),
                "k": pa.array([5], pa.int64()),
            }
        )
        listed = written.parquet_set(tmp_path, [table], labels=["labels"], conts=["d"], cats=["k"])
        schema = Schema((LabelColumns("a", 1), LabelColumns("b", 1)), "dense", 2, (KeyInput("keys", 1, 1),))
        found = joined(listed, schema)
        assert (found["a"].tolist(), found["b"].tolist(), found["dense"].tolist()) == ([[1.0]], [[0.0]], [[0.5, 0.25]])

    def test_other_types_of_labels_and_dense_values_are_converted_and_said(self, tmp_path: Path) -> None:
        table = {"label": np.array([1], np.int64), "d": np.array([0.1], np.float64), "k": np.array([5])}
        listed = written.parquet_set(tmp_path, [table], labels=["label"], conts=["d"], cats=["k"])
        dataset = open_dataset(listed, Schema((LabelColumns("label", 1),), "dense", 1, (KeyInput("keys", 1, 1),)))
        inputs, labels = next(iter(dataset))
        assert inputs["dense"].dtype == labels["label"].dtype == np.float32
        assert dataset.source.converted == {"label": "int64", "d": "double"}

    @pytest.mark.parametrize(
        ("column", "values", "message"),
        [
            ("d", pa.array([0.0, None], pa.float32()), "column 'd' has a null at row 1"),
            ("d", pa.array([0.0, float("nan")], pa.float32()), "column 'd' has NaN at row 1"),
            ("k", pa.array([1, None], pa.int64()), "column 'k' has a null at row 1"),
            ("k", pa.array([[1], [None]], pa.list_(pa.int64())), "column 'k' has a null among the keys of row 1"),
        ],
    )
    def test_nulls_and_nan_are_refused_with_file_column_and_row(
        self, column: str, values: object, message: str, tmp_path: Path
    ) -> None:
        columns = {
            "label": pa.array([0.0, 1.0], pa.float32()),
            "d": pa.array([0.0, 1.0], pa.float32()),
            "k": pa.array([1, 2], pa.int64()),
        }
        table = pa.table({**columns, column: values})
        listed = written.parquet_set(tmp_path, [table], labels=["label"], conts=["d"], cats=["k"])
        schema = Schema((LabelColumns("label", 1),), "dense", 1, (KeyInput("keys", 1, None),))
        with pytest.raises(FeedError, match=f"0.parquet: {message}"):
            batches(listed, schema)

    def test_a_model_of_other_columns_is_refused_with_both_sides(self, tmp_path: Path) -> None:
        listed = written.parquet_set(
            tmp_path, [one_hot_columns(4)], labels=["label"], conts=["I2"], cats=["C2", "C1", "C3"]
        )
        with pytest.raises(FeedError, match=r"1 dense columns.*takes labels label\[1\]; dense dense\[2\]"):
            open_dataset(listed, ONE_HOT)

    def test_strings_are_no_keys(self, tmp_path: Path) -> None:
        listed = written.parquet_set(
            tmp_path, [{"label": [0.0], "k": ["user"]}], labels=["label"], conts=[], cats=["k"]
        )
        with pytest.raises(FeedError, match="column 'k' is string; keys are int32"):
            open_dataset(listed, Schema((LabelColumns("label", 1),), None, 0, (KeyInput("keys", 1, 1),)))

    def test_damage_in_the_middle_comes_after_the_batches_before_it(self, tmp_path: Path) -> None:
        listed = written.parquet_set(
            tmp_path,
            [one_hot_columns(100), one_hot_columns(100_000, 100)],
            labels=["label"],
            conts=["I2", "I1"],
            cats=["C2", "C1", "C3"],
            row_group_size=50_000,
        )
        file = tmp_path / "1.parquet"
        chunk = pa.parquet.ParquetFile(file).metadata.row_group(1).column(1)
        dataset = open_dataset(listed, ONE_HOT, batch_size=50)
        data = bytearray(file.read_bytes())
        data[chunk.data_page_offset : chunk.data_page_offset + 100] = bytes(100)
        file.write_bytes(data)
        seen = 0
        with pytest.raises(FeedError, match=r"1\.parquet"):
            for inputs, _ in dataset:
                seen += len(inputs["dense"])
        assert seen >= 50_000

    def test_rows_that_the_metadata_states_otherwise_are_said(self, tmp_path: Path) -> None:
        listed = written.parquet_set(
            tmp_path, [one_hot_columns(4)], labels=["label"], conts=["I2", "I1"], cats=["C2", "C1", "C3"]
        )
        metadata = tmp_path / "_metadata.json"
        metadata.write_text(metadata.read_text().replace('"num_rows": 4', '"num_rows": 5'))
        assert any("states 5 rows" in warning for warning in open_dataset(listed, ONE_HOT).warnings)

    def test_plain_lists_of_dense_values_fill_several_columns(self, tmp_path: Path) -> None:
        columns = {"label": [0.0, 1.0], "dense": pa.array([[1.0, 2.0], [3.0, 4.0]], pa.list_(pa.float32()))}
        keys = {name: pa.array([5, 6]) for name in ("C1", "C2", "C3")}
        listed = written.parquet_set(
            tmp_path, [{**columns, **keys}], labels=["label"], conts=["dense"], cats=["C1", "C2", "C3"]
        )
        assert joined(listed, ONE_HOT)["dense"].tolist() == [[1.0, 2.0], [3.0, 4.0]]

    def test_two_columns_of_one_name_are_refused(self, tmp_path: Path) -> None:
        names = ["label", "I1", "I2", "C1", "C2", "C3", "C1"]
        pa.parquet.write_table(pa.Table.from_arrays([pa.array([1.0])] * 3 + [pa.array([1])] * 4, names), tmp_path / "a")
        with pytest.raises(FeedError, match="a: has several columns with the name 'C1'"):
            open_dataset(tmp_path / "a", ONE_HOT, columns="labels=label;dense=I1,I2;keys=C1..C3")

    def test_rows_before_a_null_come_first(self, tmp_path: Path) -> None:
        columns = one_hot_columns(10) | {"C2": pa.array([1, 2, 3, None, 5, 6, 7, 8, 9, 0])}
        pa.parquet.write_table(pa.table(columns), tmp_path / "a")
        seen = []
        with pytest.raises(FeedError, match="a: column 'C2' has a null at row 3"):
            seen.extend(inputs["wide"].shape for inputs, _ in open_dataset(tmp_path / "a", ONE_HOT))
        assert seen == [(3, 1, 1)]


class TestFiles:
    def make(self, folder: Path) -> Path:
        return written.parquet_set(
            folder,
            [one_hot_columns(5), one_hot_columns(6, 5)],
            labels=["label"],
            conts=["I2", "I1"],
            cats=["C2", "C1", "C3"],
        )

    def test_a_folder_a_file_a_glob_and_a_list_are_found(self, tmp_path: Path) -> None:
        listed = self.make(tmp_path)
        for data, rows in ((tmp_path, 11), (listed, 11), (tmp_path / "*.parquet", 11), (tmp_path / "1.parquet", 6)):
            assert len(open_dataset(data, ONE_HOT)) == rows

    def test_ten_comes_after_two(self, tmp_path: Path) -> None:
        self.make(tmp_path)
        (tmp_path / "_file_list.txt").unlink()
        (tmp_path / "0.parquet").rename(tmp_path / "10.parquet")
        (tmp_path / "1.parquet").rename(tmp_path / "2.parquet")
        assert batches(tmp_path, ONE_HOT)[0]["dense"][0, 0] == np.float32(5 / 8)

    def test_a_list_of_a_set_that_was_moved_is_found_beside_it(self, tmp_path: Path) -> None:
        listed = self.make(tmp_path / "old")
        (tmp_path / "old").rename(tmp_path / "new")
        assert len(open_dataset(tmp_path / "new" / listed.name, ONE_HOT)) == 11

    def test_a_name_without_a_number_comes_before_those_with_one(self) -> None:
        names = ["sub10/a", "sub2/a", "part2", "sub/b", "part"]
        ordered = ["part", "part2", "sub/b", "sub2/a", "sub10/a"]
        assert [str(path) for path in sorted(map(Path, names), key=natural)] == ordered

    def test_a_list_may_begin_with_a_byte_order_mark(self, tmp_path: Path) -> None:
        pa.parquet.write_table(pa.table(one_hot_columns(4)), tmp_path / "a.parquet")
        (tmp_path / "list.txt").write_text("1\na.parquet\n", encoding="utf-8-sig")
        assert len(open_dataset(tmp_path / "list.txt", ONE_HOT)) == 4

    def test_a_list_of_no_files_is_refused(self, tmp_path: Path) -> None:
        (tmp_path / "list.txt").write_text("0\n")
        with pytest.raises(FeedError, match="is a list of 0 files"):
            open_dataset(tmp_path / "list.txt", ONE_HOT)

    def test_a_list_that_names_a_missing_file_says_which(self, tmp_path: Path) -> None:
        listed = self.make(tmp_path)
        (tmp_path / "1.parquet").unlink()
        with pytest.raises(FeedError, match=r"names '.*1\.parquet', which is not there"):
            open_dataset(listed, ONE_HOT)

    def test_a_list_of_fewer_files_than_it_announces_is_refused(self, tmp_path: Path) -> None:
        listed = self.make(tmp_path)
        listed.write_text("3\n" + listed.read_text().split("\n", 1)[1])
        with pytest.raises(FeedError, match="announces 3 files and names 2"):
            open_dataset(listed, ONE_HOT)

    def test_a_pipe_is_refused_at_once(self, tmp_path: Path) -> None:
        os.mkfifo(tmp_path / "pipe")
        with pytest.raises(FeedError, match="is not a regular file"):
            open_dataset(tmp_path / "pipe", ONE_HOT)

    def test_gzip_is_named(self, tmp_path: Path) -> None:
        (tmp_path / "data.gz").write_bytes(b"\x1f\x8b\x08" + bytes(100))
        with pytest.raises(FeedError, match="compressed with gzip; unpack it"):
            open_dataset(tmp_path / "data.gz", ONE_HOT)


SAMPLES = ([[1.0], [0.0], [1.0]], [[0.5], [0.25], [-1.0]], [[[5], []], [[1, 2, 3], [7]], [[], [9, 9]]])
EXPECTED = [[[5, -1, -1], [-1, -1, -1]], [[1, 2, 3], [7, -1, -1]], [[-1, -1, -1], [9, 9, -1]]]


class TestNorm:
    @pytest.mark.parametrize("sums", [False, True])
    @pytest.mark.parametrize("key_bytes", [4, 8])
    def test_lists_of_any_length(self, sums: bool, key_bytes: int, tmp_path: Path) -> None:
        written.norm_file(tmp_path / "a", *SAMPLES, sums=sums, key_bytes=key_bytes)
        found = joined(tmp_path / "a", LISTS)
        assert found["keys"].tolist() == EXPECTED
        assert found["dense"].tolist() == SAMPLES[1]
        assert found["label"].tolist() == SAMPLES[0]

    @pytest.mark.parametrize("sums", [False, True])
    @pytest.mark.parametrize("lists", [False, True])
    def test_many_records_over_several_blocks(
        self, sums: bool, lists: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr("hugectr2onnx.datasets.norm.BLOCK_BYTES", 1000)
        rng = np.random.default_rng(0)
        keys = [
            [list(map(int, rng.integers(0, 99, rng.integers(0, 4) if lists else 1))) for _ in range(2)]
            for _ in range(500)
        ]
        labels, dense = [[float(i % 2)] for i in range(500)], [[float(i)] for i in range(500)]
        written.norm_file(tmp_path / "a", labels, dense, keys, sums=sums)
        found = joined(tmp_path / "a", Schema((LabelColumns("label", 1),), "dense", 1, (KeyInput("keys", 2, 3),)))
        assert [[[k for k in slot if k >= 0] for slot in row] for row in found["keys"].tolist()] == keys
        assert found["dense"][:, 0].tolist() == list(range(500))

    def test_samples_before_damage_come_although_they_fill_no_batch(self, tmp_path: Path) -> None:
        written.norm_file(tmp_path / "a", *SAMPLES, sums=True)
        written.norm_file(tmp_path / "b", *SAMPLES, sums=True)
        damaged = bytearray((tmp_path / "b").read_bytes())
        damaged[-2] ^= 1
        (tmp_path / "b").write_bytes(damaged)
        (tmp_path / "list.txt").write_text("2\na\nb\n")
        seen = []
        with pytest.raises(FeedError, match=r"b: the check sum of record 2 is wrong"):
            seen.extend(len(inputs["dense"]) for inputs, _ in open_dataset(tmp_path / "list.txt", LISTS))
        assert seen == [5]  # three of a, two of b

    def test_the_vector_of_the_specification(self, tmp_path: Path) -> None:
        data = bytes.fromhex(
            "40000000" + "0100000000000000" * 4 + "0200000000000000" + "00" * 24 + "06"
            "14000000" + "0000803f" + "0000003f" + "01000000" + "05000000" + "00000000" + "04"
        )  # formats 9
        (tmp_path / "a").write_bytes(data)
        (inputs,) = batches(tmp_path / "a", LISTS)
        assert inputs["keys"].tolist() == [[[5], [-1]]]
        assert (inputs["label"].tolist(), inputs["dense"].tolist()) == ([[1.0]], [[0.5]])

    def test_a_wrong_check_sum_names_its_record(self, tmp_path: Path) -> None:
        written.norm_file(tmp_path / "a", *SAMPLES, sums=True)
        data = bytearray((tmp_path / "a").read_bytes())
        data[-3] ^= 1
        (tmp_path / "a").write_bytes(data)
        with pytest.raises(FeedError, match="the check sum of record 2 is wrong"):
            batches(tmp_path / "a", LISTS)

    @pytest.mark.parametrize("sums", [False, True])
    def test_a_truncated_file_is_refused(self, sums: bool, tmp_path: Path) -> None:
        written.norm_file(tmp_path / "a", *SAMPLES, sums=sums)
        (tmp_path / "a").write_bytes((tmp_path / "a").read_bytes()[:-5])
        with pytest.raises(FeedError, match="ends in record 2 of 3"):
            batches(tmp_path / "a", LISTS, int64_keys=True)

    def test_64_bit_keys_are_told_in_a_damaged_file(self, tmp_path: Path) -> None:
        written.norm_file(tmp_path / "a", *SAMPLES, sums=True, key_bytes=8)
        (tmp_path / "a").write_bytes((tmp_path / "a").read_bytes()[:-1])
        with pytest.raises(FeedError, match=r"ends in record 2 of 3: .* not of 8 bytes"):
            batches(tmp_path / "a", LISTS)

    def test_a_model_that_adds_its_offsets_itself_gets_keys_without_them(self, tmp_path: Path) -> None:
        adds = replace(LISTS, own_offsets=(0, 100))
        written.norm_file(tmp_path / "a", [[1.0]], [[0.5]], [[[7], [103, 104]]], sums=True)
        (batch,) = batches(tmp_path / "a", adds)
        assert batch["keys"].tolist() == [[[7, -1], [3, 4]]]

    def test_keys_below_the_offset_that_is_taken_off_are_refused(self, tmp_path: Path) -> None:
        adds = replace(LISTS, own_offsets=(0, 100))
        written.norm_file(tmp_path / "a", [[1.0]], [[0.5]], [[[7], [3]]], sums=True)
        with pytest.raises(FeedError, match="slot 1 of keys has the key 3, and the offset of the slot is 100"):
            batches(tmp_path / "a", adds)

    def test_a_header_of_another_model_is_refused(self, tmp_path: Path) -> None:
        written.norm_file(tmp_path / "a", *SAMPLES, sums=True)
        with pytest.raises(FeedError, match=r"label_dim 1, dense_dim 1 and 2 slots; the model takes labels"):
            open_dataset(tmp_path / "a", ONE_HOT)


class TestRaw:
    def test_counts_become_logarithms_and_labels_floats(self, tmp_path: Path) -> None:
        labels = np.array([[1], [0]], "<i4")
        dense = np.array([[0, 3], [7, 1]], "<i4")
        keys = np.array([[5, 6, 7], [8, 9, 2**32 - 1]], "<u4")
        written.raw_file(tmp_path / "a", labels, dense, keys)
        found = joined(tmp_path / "a", ONE_HOT, format="raw")
        np.testing.assert_array_equal(found["dense"], np.log(np.array([[1, 4], [8, 2]], np.float32)))
        assert found["label"].tolist() == [[1.0], [0.0]]
        assert found["deep"][:, :, 0].tolist() == [[6, 7], [9, 2**32 - 1]]

    def test_floats_are_taken_as_they_are(self, tmp_path: Path) -> None:
        labels, dense = np.array([[1.0]], "<f4"), np.array([[0.5, -2.0]], "<f4")
        written.raw_file(tmp_path / "a", labels, dense, np.array([[1, 2, 3]], "<i8"))
        found = joined(tmp_path / "a", ONE_HOT, float_dense=True, int64_keys=True)
        assert (found["label"].tolist(), found["dense"].tolist()) == ([[1.0]], [[0.5, -2.0]])

    def test_several_keys_a_slot(self, tmp_path: Path) -> None:
        keys = np.array([[1, 2, 3], [4, 5, 6]], "<u4")
        written.raw_file(tmp_path / "a", np.zeros((2, 1), "<i4"), np.zeros((2, 1), "<i4"), keys)
        found = joined(tmp_path / "a", LISTS, format="raw", hotness=[2, 1])
        assert found["keys"].tolist() == [[[1, 2], [3, -1]], [[4, 5], [6, -1]]]

    def test_a_size_that_is_no_multiple_is_refused(self, tmp_path: Path) -> None:
        (tmp_path / "a").write_bytes(bytes(25))
        with pytest.raises(FeedError, match="has 25 bytes, which is not a multiple of the 24 bytes of a record"):
            open_dataset(tmp_path / "a", ONE_HOT, format="raw")

    def test_float_values_read_as_counts_are_said(self, tmp_path: Path) -> None:
        dense = np.full((3, 2), 0.75, "<f4")
        written.raw_file(tmp_path / "a", np.zeros((3, 1), "<i4"), dense, np.zeros((3, 3), "<u4"))
        assert any(
            "--float-dense" in warning for warning in open_dataset(tmp_path / "a", ONE_HOT, format="raw").warnings
        )

    def test_num_samples_ends_the_data(self, tmp_path: Path) -> None:
        written.raw_file(tmp_path / "a", np.zeros((3, 1), "<i4"), np.zeros((3, 2), "<i4"), np.zeros((3, 3), "<u4"))
        assert len(open_dataset(tmp_path / "a", ONE_HOT, format="raw", num_samples=2)) == 2


class TestArraysAndTables:
    arrays = {
        "dense": np.arange(6, dtype=np.float64).reshape(3, 2),
        "wide": np.array([[1], [2], [3]]),
        "deep": np.arange(6, dtype=np.int32).reshape(3, 2, 1),
        "label": np.array([0, 1, 0]),
    }

    @pytest.mark.parametrize("save", [np.savez, np.savez_compressed])
    def test_npz_comes_in_batches_and_in_the_model_s_types(self, save: object, tmp_path: Path) -> None:
        save(tmp_path / "a.npz", **self.arrays)
        parts = batches(tmp_path / "a.npz", ONE_HOT, batch_size=2)
        assert [len(part["dense"]) for part in parts] == [2, 1]
        assert parts[0]["dense"].dtype == np.float32
        assert parts[0]["wide"].tolist() == [[[1]], [[2]]]
        assert parts[1]["label"].tolist() == [[0.0]]

    def test_an_npz_that_lacks_an_input_says_which(self, tmp_path: Path) -> None:
        np.savez(tmp_path / "a.npz", dense=self.arrays["dense"], wide=self.arrays["wide"])
        with pytest.raises(FeedError, match=r"lacks the array deep; it has dense, wide"):
            open_dataset(tmp_path / "a.npz", ONE_HOT)

    def test_a_zip_bomb_is_not_unpacked(self, tmp_path: Path) -> None:
        np.savez_compressed(tmp_path / "a.npz", **{**self.arrays, "dense": np.zeros((1, 30_000_000), np.float32)})
        with pytest.raises(FeedError, match="rows of more than"):
            open_dataset(tmp_path / "a.npz", ONE_HOT)

    def test_a_damaged_array_of_an_npz_is_named(self, tmp_path: Path) -> None:
        dense = np.array([[0.25, 0.5]] * 9000, np.float32)
        np.savez(tmp_path / "a.npz", dense=dense, wide=np.ones((9000, 1), int), deep=np.ones((9000, 2), int))
        whole = (tmp_path / "a.npz").read_bytes()
        at = whole.index(dense.tobytes()) + 70_000
        (tmp_path / "a.npz").write_bytes(whole[:at] + b"?" + whole[at + 1 :])
        with pytest.raises(FeedError, match=r"a\.npz: the array dense is damaged"):
            batches(tmp_path / "a.npz", ONE_HOT)

    def test_arrays_of_an_npz_that_the_model_does_not_know_are_left_alone(self, tmp_path: Path) -> None:
        feeds = {"dense": np.ones((4, 2)), "wide": np.ones((4, 1), int), "deep": np.ones((4, 2), int)}
        np.savez(tmp_path / "a.npz", **feeds, created="today")
        assert len(open_dataset(tmp_path / "a.npz", ONE_HOT)) == 4

    def test_offsets_are_added_to_the_keys_of_arrays_but_not_to_padding(self) -> None:
        feeds = {"dense": [[0.5]], "keys": [[[3, -1], [4, 5]]]}
        (batch,) = batches([feeds], LISTS, slot_size_array=[10, 20])
        assert batch["keys"].tolist() == [[[3, -1], [14, 15]]]

    def test_batches_of_several_widths_are_padded_to_the_widest(self) -> None:
        narrow, wide = {"dense": [[1.0]], "keys": [[[3], [4]]]}, {"dense": [[2.0]], "keys": [[[5, 6], [7, 8]]]}
        (batch,) = batches([narrow, wide], LISTS)
        assert batch["keys"].tolist() == [[[3, -1], [4, -1]], [[5, 6], [7, 8]]]

    def test_nan_in_arrays_is_refused_with_its_row(self) -> None:
        with pytest.raises(FeedError, match="batch 0: dense has NaN at row 1"):
            batches([{"dense": [[1.0], [np.nan]], "keys": [[[3], [4]]] * 2}], LISTS)

    def test_batches_with_labels_and_without_do_not_mix(self) -> None:
        feeds = {"dense": [[1.0]], "keys": [[[3], [4]]]}
        with pytest.raises(FeedError, match="batch 1 has the labels none, and those before it label"):
            batches([{**feeds, "label": [1.0]}, feeds], LISTS)

    def test_categories_of_integers_are_keys(self) -> None:
        columns = one_hot_columns(4)
        columns["C1"] = pa.array(columns["C1"]).dictionary_encode()
        assert joined(pa.table(columns), ONE_HOT)["wide"][:, 0, 0].tolist() == [100, 101, 102, 103]

    def test_a_csv_of_names_alone_has_no_samples(self, tmp_path: Path) -> None:
        (tmp_path / "a.csv").write_text("label,I1,I2,C1,C2,C3\n")
        assert batches(tmp_path / "a.csv", ONE_HOT) == []

    def test_csv_by_names(self, tmp_path: Path) -> None:
        (tmp_path / "a.csv").write_text("click,I2,I1,C1,C2,C3\n1,0.5,2,10,20,30\n0,1.5,3,11,21,31\n")
        found = joined(tmp_path / "a.csv", ONE_HOT, columns="labels=click;dense=I1..I2;keys=C1..C3")
        assert found["dense"].tolist() == [[2.0, 0.5], [3.0, 1.5]]
        assert found["deep"][:, :, 0].tolist() == [[20, 30], [21, 31]]
        assert found["label"].tolist() == [[1.0], [0.0]]

    def test_iterators_of_batches(self) -> None:
        part = {name: array[:2] for name, array in self.arrays.items()}
        rest = {name: array[2:] for name, array in self.arrays.items()}
        found = joined(iter([part, rest]), ONE_HOT, batch_size=3)
        assert found["dense"].tolist() == [[0.0, 1.0], [2.0, 3.0], [4.0, 5.0]]

    def test_inputs_that_differ_in_their_rows_are_refused(self) -> None:
        with pytest.raises(FeedError, match="dense has 3 rows and wide 2"):
            batches([{**self.arrays, "wide": self.arrays["wide"][:2]}], ONE_HOT)

    @pytest.mark.parametrize(
        ("lines", "mark", "delimiter"), [("\r\n", "", ","), ("\n", "\ufeff", ","), ("\n", "", "\t"), ("\n", "", ";")]
    )
    def test_csv_as_other_programs_write_it(self, lines: str, mark: str, delimiter: str, tmp_path: Path) -> None:
        rows = ["label,I2,I1,C1,C2,C3", "1,0.5,2,10,20,30", "0,1.5,3,11,21,31", ""]
        (tmp_path / "a.csv").write_bytes((mark + lines.join(rows)).replace(",", delimiter).encode())
        found = joined(tmp_path / "a.csv", ONE_HOT)
        assert found["dense"].tolist() == [[2, 0.5], [3, 1.5]]
        assert found["deep"][:, :, 0].tolist() == [[20, 30], [21, 31]]

    @pytest.mark.parametrize("is_stream", [False, True])
    def test_arrow_files_and_streams(self, is_stream: bool, tmp_path: Path) -> None:
        table = pa.table(one_hot_columns(50))
        writer = pa.ipc.new_stream if is_stream else pa.ipc.new_file
        with writer(tmp_path / "a.arrow", table.schema) as file:
            file.write_table(table, max_chunksize=20)
        dataset = open_dataset(tmp_path / "a.arrow", ONE_HOT)
        assert (dataset.format, dataset.rows) == ("arrow", None if is_stream else 50)
        np.testing.assert_array_equal(joined(tmp_path / "a.arrow", ONE_HOT)["wide"], joined(table, ONE_HOT)["wide"])

    def test_an_arrow_table(self) -> None:
        table = pa.table(
            {"label": pa.array([1.0], pa.float32()), "I1": [0.5], "I2": [1.5], "C1": [1], "C2": [2], "C3": [3]}
        )
        assert joined(table, ONE_HOT)["deep"].tolist() == [[[2], [3]]]

    def test_columns_that_cannot_be_told_are_asked_for(self, tmp_path: Path) -> None:
        (tmp_path / "a.csv").write_text("x,y\n1,2\n")
        with pytest.raises(FeedError, match=r"columns x \(integer\), y \(integer\).*--columns"):
            open_dataset(tmp_path / "a.csv", ONE_HOT)


def test_a_limit_ends_the_data(tmp_path: Path) -> None:
    written.norm_file(tmp_path / "a", *SAMPLES, sums=True)
    dataset = open_dataset(tmp_path / "a", LISTS, limit=2, batch_size=2)
    assert len(dataset) == 2
    assert [len(inputs["dense"]) for inputs, _ in dataset] == [2]


def test_the_reading_thread_ends_when_the_caller_stops_early(tmp_path: Path) -> None:
    written.norm_file(tmp_path / "a", *SAMPLES, sums=True)
    iterator = iter(open_dataset(tmp_path / "a", LISTS, batch_size=1))
    next(iterator)
    iterator.close()
    assert not [thread for thread in threading.enumerate() if thread.name == "hugectr2onnx-reader"]


def test_a_model_that_adds_its_offsets_itself_gets_raw_keys(tmp_path: Path) -> None:
    from hugectr2onnx.sample_models import write_sample

    sample = write_sample("ncf", tmp_path / "ncf")
    model = hugectr2onnx.compile(sample.graph, sample.weights, slot_size_array=[10, 20])
    schema_keys = open_dataset(
        [{"data": np.zeros((1, 2, 1), np.int64)}], model, slot_size_array=[10, 20]
    ).schema.offsets
    assert schema_keys == ()
    with pytest.raises(FeedError, match="adds its offsets itself"):
        open_dataset([], model, slot_size_array=[10, 21])
