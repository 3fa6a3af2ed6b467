"""Stores that another program changed are refused in words; nothing of the user's is deleted."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest

from hugectr2onnx.errors import OutputError, StoreError
from hugectr2onnx.stores.export import export_split
from hugectr2onnx.stores.lookup_client import LookupClient
from hugectr2onnx.stores.split_folder import open_store
from hugectr2onnx.stores.split_scorer import SplitScorer

from .models import Model


@pytest.fixture
def parquet(model: Model, tmp_path: Path) -> Path:
    pytest.importorskip("pyarrow")
    export_split(model.graph, model.weights, tmp_path, options=model.options)
    return tmp_path


@pytest.fixture
def rocksdb(model: Model, tmp_path: Path) -> Path:
    pytest.importorskip("rocksdict")
    export_split(model.graph, model.weights, tmp_path, store="rocksdb", options=model.options)
    return tmp_path


def open_(folder: Path) -> None:
    with LookupClient(open_store(folder)) as client:
        client.pin()


def change(folder: Path, **entries: object) -> None:
    path = folder / "versions" / "1" / "record.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | entries))


def test_a_parquet_file_that_is_cut_off(parquet: Path) -> None:
    file = parquet / "versions" / "1" / "0-averaged.parquet"
    file.write_bytes(file.read_bytes()[:-100])
    with pytest.raises(StoreError, match=r"0-averaged\.parquet cannot be read as Parquet"):
        open_(parquet)


def test_parquet_rows_of_another_width(parquet: Path) -> None:
    folder = parquet / "versions" / "1"
    shutil.copy(folder / "1-summed.parquet", folder / "0-averaged.parquet")
    with pytest.raises(
        StoreError, match=r"has the columns key int64, vector fixed_size_list.*, not 8 fp32 numbers a row"
    ):
        open_(parquet)


def test_parquet_rows_of_another_version(model: Model, parquet: Path) -> None:
    export_split(model.graph, model.weights, parquet, options=model.options)
    name = "0-averaged.parquet"
    shutil.copy(parquet / "versions" / "1" / name, parquet / "versions" / "2" / name)
    with pytest.raises(StoreError, match="is of version 1, not of 2: it was moved or replaced"):
        open_(parquet)


def test_parquet_rows_that_are_missing(parquet: Path) -> None:
    import pyarrow.parquet as pq

    file = parquet / "versions" / "1" / "0-averaged.parquet"
    pq.write_table(pq.read_table(file).slice(0, 80), file)
    with pytest.raises(StoreError, match="has 80 rows, and 90 were written"):
        open_(parquet)


def test_a_rocksdb_of_another_program(rocksdb: Path) -> None:
    import rocksdict

    path = rocksdb / "versions" / "1" / "rows.rocksdb"
    shutil.rmtree(path)
    rocksdict.Rdict(str(path)).close()
    with pytest.raises(StoreError, match=r"rows.rocksdb (is of version none|cannot be opened as RocksDB)"):
        open_(rocksdb)
    assert path.is_dir()


def test_a_rocksdb_that_lacks_a_file(rocksdb: Path) -> None:
    for file in (rocksdb / "versions" / "1" / "rows.rocksdb").glob("*.sst"):
        file.unlink()
    with pytest.raises(StoreError, match=r"rows\.rocksdb cannot be opened as RocksDB"):
        open_(rocksdb)


def test_a_rocksdb_that_lacks_rows(rocksdb: Path) -> None:
    change(rocksdb, tables=[{**each, "rows": each["rows"] + 1} for each in record(rocksdb)["tables"]])
    with pytest.raises(StoreError, match="does not have the 91 rows of table averaged"):
        open_(rocksdb)


def record(folder: Path) -> dict[str, list[dict[str, int]]]:
    return json.loads((folder / "versions" / "1" / "record.json").read_text())  # type: ignore[no-any-return]


@pytest.mark.parametrize(("entries", "message"), [
    ({"format": "other"}, "it is not a record of a split model"),
    ({"format_version": 99}, "a later release of hugectr2onnx wrote it"),
    ({"version": "9"}, "is the record of version 9, not of 1: it was moved"),
    ({"version": "../1"}, "is not the name of a version"),
    ({"tables": []}, "has no table 'averaged'"),
    ({"tables": [{"name": "averaged", "rows": -1, "width": 8}]}, "has -1 'fp32' rows of 8"),
    ({"tables": [{"name": "averaged", "rows": 1, "width": 8, "row_format": "x"}]}, "'x' rows"),
    ({"tables": 5}, "the record of the version cannot be used"),
    ({"store": {}}, "the record does not name a Parquet file for each table"),
    ({"store": {"files": ["../../../other"] * 3}}, "versions/1/other cannot be read as Parquet"),
])  # fmt: skip
def test_a_record_that_is_wrong(entries: dict[str, object], message: str, parquet: Path) -> None:
    change(parquet, **entries)
    with pytest.raises(StoreError, match=message):
        open_(parquet)


def test_a_dense_part_of_another_version(model: Model, parquet: Path) -> None:
    path = parquet / "versions" / "1" / "model.onnx"
    path.write_bytes(path.read_bytes() + b"\x00")
    with (
        SplitScorer(parquet) as scorer,
        pytest.raises(StoreError, match="is not the dense part that the rows of version 1"),
    ):
        scorer(model.feeds(1))
    path.unlink()
    with (
        SplitScorer(parquet) as scorer,
        pytest.raises(StoreError, match="has no dense part of it: bring the folder up"),
    ):
        scorer(model.feeds(1))


@pytest.mark.parametrize("text", ["", "../../etc", "1\n2", "x" * 200])
def test_a_pointer_that_names_no_version(text: str, parquet: Path) -> None:
    (parquet / "current").write_text(text)
    with pytest.raises(StoreError, match="does not name a version"):
        open_(parquet)


def test_a_pointer_to_a_version_that_is_not_there(parquet: Path) -> None:
    (parquet / "current").write_text("7\n")
    with pytest.raises(StoreError, match="has no version 7: there are 1"):
        open_(parquet)


def test_a_file_of_the_user_in_the_place_of_the_pointer_stays(model: Model, tmp_path: Path) -> None:
    pytest.importorskip("pyarrow")
    (tmp_path / "current").write_text("my notes about the current model, which are long enough")
    with pytest.raises(OutputError, match="current: it is there already and not a file of ours"):
        export_split(model.graph, model.weights, tmp_path, options=model.options)
    assert (tmp_path / "current").read_text().startswith("my notes")


@pytest.mark.parametrize("text", ["{}", "[1]", "{", '{"format": "hugectr2onnx.split-folder", "store": {"kind": "x"}}'])
def test_a_folder_that_is_no_split_model(text: str, tmp_path: Path) -> None:
    with pytest.raises(StoreError, match=r"is not the folder of a split model: it has no split.json"):
        open_store(tmp_path)
    (tmp_path / "split.json").write_text(text)
    with pytest.raises(StoreError, match=r"split.json cannot be used"):
        open_store(tmp_path)


def test_keys_stay_whole_numbers_at_the_ends_of_their_range(kind: str, model: Model, tmp_path: Path) -> None:
    export_split(model.graph, model.weights, tmp_path, store=kind, options=model.options)
    ends = np.array([-(2**63), -1, 2**63 - 1], np.int64)
    with LookupClient(open_store(tmp_path)) as client:
        np.testing.assert_array_equal(client.lookup("averaged", ends), np.zeros((3, 8)))
