"""Keys and rows of a table can be looked at and taken elsewhere."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from hugectr2onnx.errors import FeedError, OutputError, WeightsError
from hugectr2onnx.inspection.embedding_table import read_snapshot_table, read_table
from hugectr2onnx.inspection.table_files import write_table
from hugectr2onnx.sample_models import write_sample

KEYS = np.array([7, 3, 2**40], np.int64)
ROWS = np.array([[1, 2], [0.5, -1], [4, 8]], np.float32)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    place = tmp_path / "wdl0_sparse_0.model"
    place.mkdir()
    KEYS.tofile(place / "key")
    ROWS.tofile(place / "emb_vector")
    return place


def test_a_table_folder_tells_its_width(folder: Path) -> None:
    table = read_table(folder)
    assert (len(table), table.width, table.slot_ids) == (3, 2, None)
    np.testing.assert_array_equal(table.keys, KEYS)
    np.testing.assert_array_equal(table.rows, ROWS)


def test_keys_are_looked_up(folder: Path) -> None:
    found = read_table(folder).lookup([3, 99])
    assert found[3].tolist() == [0.5, -1.0]
    assert found[99] is None


@pytest.mark.parametrize("ending", [".parquet", ".arrow", ".npz"])
def test_every_kind_of_file_holds_keys_and_rows(ending: str, folder: Path, tmp_path: Path) -> None:
    path = tmp_path / f"table{ending}"
    write_table(read_table(folder), path)
    keys, rows = read(path)
    np.testing.assert_array_equal(keys, KEYS)
    np.testing.assert_array_equal(rows, ROWS)


def read(path: Path) -> tuple[np.ndarray, np.ndarray]:
    if path.suffix == ".npz":
        loaded = np.load(path)
        return loaded["key"], loaded["vector"]
    pa = pytest.importorskip("pyarrow")
    if path.suffix == ".parquet":
        import pyarrow.parquet as pq

        table = pq.read_table(path)
    else:
        table = pa.ipc.open_file(str(path)).read_all()
    return table["key"].to_numpy(), np.array(table["vector"].to_pylist(), np.float32)


def test_a_file_is_not_overwritten_without_force(folder: Path, tmp_path: Path) -> None:
    (tmp_path / "table.npz").write_bytes(b"mine")
    with pytest.raises(OutputError, match="exists already"):
        write_table(read_table(folder), tmp_path / "table.npz")
    assert (tmp_path / "table.npz").read_bytes() == b"mine"


def test_a_truncated_table_is_refused(folder: Path) -> None:
    (folder / "emb_vector").write_bytes((folder / "emb_vector").read_bytes()[:-4])
    with pytest.raises(WeightsError, match="3 keys and 5 floats do not make whole rows"):
        read_table(folder)


def test_a_table_is_found_by_the_top_of_its_layer(tmp_path: Path) -> None:
    sample = write_sample("wdl", tmp_path / "wdl")
    table = read_snapshot_table(sample.graph, sample.weights, "sparse_embedding2")
    np.testing.assert_array_equal(table.keys, np.fromfile(sample.weights.tables[0] / "key", np.int64))
    with pytest.raises(FeedError, match=r"there is no table 'sparse_embeding1' .*the model has sparse_embedding2"):
        read_snapshot_table(sample.graph, sample.weights, "sparse_embeding1")
