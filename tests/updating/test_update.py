"""`update`: the next snapshot, by snapshots that are changed by hand."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest

import hugectr2onnx
from hugectr2onnx.errors import FeedError
from hugectr2onnx.sample_models import sample_feeds, write_sample
from hugectr2onnx.sample_models.catalog import SamplePaths
from hugectr2onnx.updating.changes import TableChange
from hugectr2onnx.updating.update import Update, update

DEEP = "wdl1_sparse_0.model"


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> SamplePaths:
    return write_sample("wdl", tmp_path_factory.mktemp("trained"), rows=6000)


def copied(sample: SamplePaths, folder: Path) -> Path:
    """The next snapshot, before anything in it is changed."""
    shutil.copytree(sample.graph.parent, folder)
    return folder


def edited(path: Path, dtype: type, edit: Any) -> None:
    array = np.fromfile(path, dtype)
    edit(array)
    array.tofile(path)


def compiled(sample: SamplePaths, path: Path, **options: Any) -> Path:
    external = options.pop("external", False)
    hugectr2onnx.compile(sample.graph, sample.weights, **options).save(path, external=external)
    return path


def table(done: Update, number: int) -> TableChange:
    return done.changes.tables[number]


def deep(done: Update) -> TableChange:
    (found,) = [each for each in done.changes.tables if each.rows and "embedding1" in each.table]
    return found


def test_rows_that_moved_are_counted_with_how_far(trained: SamplePaths, tmp_path: Path) -> None:
    new = copied(trained, tmp_path / "new")

    def move(vectors: np.ndarray) -> None:
        vectors.reshape(-1, 4)[3] += 0.5
        vectors.reshape(-1, 4)[8, 1] -= 2

    edited(new / DEEP / "emb_vector", np.float32, move)
    old = compiled(trained, tmp_path / "old.onnx")
    done = update(old, new / "wdl.json", str(new), tmp_path / "new.onnx")
    change = deep(done)
    assert (change.added, change.removed, change.moved) == (0, 0, 2)
    assert change.max_moved == pytest.approx(2, abs=1e-6)
    assert change.mean_moved == pytest.approx((4 * 0.5 + 2) / (4 * change.rows), rel=1e-5)
    assert done.changes.tensors == ()


@pytest.mark.parametrize("keys", ["auto", "label-encoder", "perfect-hash", "indices"])
@pytest.mark.parametrize("interface", ["padded", "csr"])
def test_rows_that_came_and_went(trained: SamplePaths, tmp_path: Path, keys: str, interface: str) -> None:
    new = copied(trained, tmp_path / "new")
    ids, vectors = (np.fromfile(new / DEEP / name, dtype) for name, dtype in (("key", np.int64), ("emb_vector", "f4")))
    rows = vectors.reshape(-1, 4)
    # Three rows go, two come with keys that were never there.
    added = np.array([ids.max() + 5, ids.max() + 9])
    np.concatenate([ids[3:], added]).tofile(new / DEEP / "key")
    np.concatenate([rows[3:], np.ones((2, 4), "f4")]).tofile(new / DEEP / "emb_vector")
    old = compiled(trained, tmp_path / "old.onnx", keys=keys, interface=interface)
    change = deep(update(old, new / "wdl.json", str(new), tmp_path / "new.onnx"))
    assert (change.rows, change.added, change.removed, change.moved) == (len(ids) - 1, 2, 3, 0)


def test_rows_in_another_order_have_not_moved(trained: SamplePaths, tmp_path: Path) -> None:
    new = copied(trained, tmp_path / "new")
    order = np.random.default_rng(0).permutation(len(np.fromfile(new / DEEP / "key", np.int64)))
    ids, vectors = (np.fromfile(new / DEEP / name, dtype) for name, dtype in (("key", np.int64), ("emb_vector", "f4")))
    rows = vectors.reshape(-1, 4)[order]
    rows[5] += 0.5
    ids[order].tofile(new / DEEP / "key")
    rows.tofile(new / DEEP / "emb_vector")
    old = compiled(trained, tmp_path / "old.onnx", keys="indices")
    change = deep(update(old, new / "wdl.json", str(new), tmp_path / "new.onnx"))
    assert (change.added, change.removed, change.moved) == (0, 0, 1)
    assert change.max_moved == pytest.approx(0.5, abs=1e-6)


def test_a_lost_key_map_leaves_its_table_uncompared(trained: SamplePaths, tmp_path: Path) -> None:
    old = compiled(trained, tmp_path / "old.onnx", keys="indices")
    for path in tmp_path.glob("old.onnx.*.deep_data.keys"):
        path.unlink()
    done = update(old, trained.graph, trained.weights, tmp_path / "new.onnx")
    (lost,) = [each for each in done.changes.tables if each.not_compared]
    assert "no such file" in lost.not_compared
    assert list(tmp_path.glob("new.onnx.*.deep_data.keys"))


def test_dense_tensors_that_moved(trained: SamplePaths, tmp_path: Path) -> None:
    new = copied(trained, tmp_path / "new")

    def move(floats: np.ndarray) -> None:
        floats[-1] += 0.25  # the bias of the last layer

    edited(new / "wdl_dense_0.model", np.float32, move)
    old = compiled(trained, tmp_path / "old.onnx", opt_level=0)
    done = update(old, new / "wdl.json", str(new), tmp_path / "new.onnx")
    (change,) = done.changes.tensors
    assert (change.moved, change.elements) == (1, 1)
    assert change.max_moved == pytest.approx(0.25, abs=1e-6)
    assert [each.moved for each in done.changes.tables] == [0, 0]


def test_the_new_model_has_the_options_of_the_old_one(trained: SamplePaths, tmp_path: Path) -> None:
    old = compiled(trained, tmp_path / "old.onnx", embedding="fp16", opt_level=1, keys="perfect-hash")
    update(old, trained.graph, trained.weights, tmp_path / "new.onnx")
    assert (tmp_path / "new.onnx").read_bytes() == old.read_bytes()


def test_tables_that_stay_are_not_written_again(trained: SamplePaths, tmp_path: Path) -> None:
    new = copied(trained, tmp_path / "new")
    edited(new / "wdl_dense_0.model", np.float32, lambda floats: floats.__iadd__(0.01))
    old = compiled(trained, tmp_path / "old.onnx", external=True)
    (data,) = tmp_path.glob("old.onnx.*.data")
    done = update(old, new / "wdl.json", str(new), tmp_path / "new.onnx")
    model = onnx.load(tmp_path / "new.onnx", load_external_data=False)
    places = {t.name: t.external_data[0].value for t in model.graph.initializer if t.external_data}
    tables = sum((new / f"wdl{n}_sparse_0.model" / "emb_vector").stat().st_size for n in (0, 1))
    assert data.name in places.values()
    assert done.reused >= tables
    (own,) = tmp_path.glob("new.onnx.*.data")
    assert own.stat().st_size < tables


def test_a_model_that_shares_data_runs_and_keeps_them(trained: SamplePaths, tmp_path: Path) -> None:
    new = copied(trained, tmp_path / "new")
    edited(new / "wdl_dense_0.model", np.float32, lambda floats: floats.__iadd__(0.01))
    model = compiled(trained, tmp_path / "models.onnx", external=True)
    done = update(model, new / "wdl.json", str(new), model)  # in its own place
    hugectr2onnx.clean_folder(tmp_path)
    feeds = sample_feeds(trained, 32)
    (answer,) = hugectr2onnx.open_session(model).run(["label"], feeds)
    np.testing.assert_allclose(answer, done.compiled.run(feeds)["label"], rtol=1e-6)
    assert hugectr2onnx.verify_manifest(tmp_path).problems == ()


def test_a_model_in_another_folder_is_written_whole(trained: SamplePaths, tmp_path: Path) -> None:
    old = compiled(trained, tmp_path / "old.onnx", external=True)
    (tmp_path / "elsewhere").mkdir()
    done = update(old, trained.graph, trained.weights, tmp_path / "elsewhere" / "new.onnx")
    assert done.reused == 0
    hugectr2onnx.open_session(tmp_path / "elsewhere" / "new.onnx")


def test_the_snapshot_of_another_graph_is_refused(trained: SamplePaths, tmp_path: Path) -> None:
    other = write_sample("ncf", tmp_path / "ncf")
    old = compiled(trained, tmp_path / "old.onnx")
    with pytest.raises(FeedError, match="is it the snapshot of another graph"):
        update(old, other.graph, other.weights, tmp_path / "new.onnx")
    assert not (tmp_path / "new.onnx").exists()


def test_a_model_that_states_no_options_is_refused(trained: SamplePaths, tmp_path: Path) -> None:
    old = compiled(trained, tmp_path / "old.onnx")
    model = onnx.load(old)
    del model.metadata_props[:]
    onnx.save(model, old)
    with pytest.raises(FeedError, match="does not state the options that it was compiled with"):
        update(old, trained.graph, trained.weights, tmp_path / "new.onnx")


def test_the_result_is_plain_data(trained: SamplePaths, tmp_path: Path) -> None:
    old = compiled(trained, tmp_path / "old.onnx")
    told = update(old, trained.graph, trained.weights, tmp_path / "new.onnx").to_dict()
    assert json.loads(json.dumps(told["changes"]))["tensors"] == []
