"""Data sets whose keys are not those of the model, and models that take rows in the place of keys."""

from __future__ import annotations

import json
import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import hugectr2onnx
from hugectr2onnx.datasets.schema import schema_of
from hugectr2onnx.errors import FeedError
from hugectr2onnx.sample_models import sample_feeds
from hugectr2onnx.sample_models.builder import ModelBuilder, SparseParam
from hugectr2onnx.sample_models.generate import generate_weights
from hugectr2onnx.scoring.predict import predict
from hugectr2onnx.scoring.scorer import Scorer
from hugectr2onnx.scoring.unknown_keys import KeyCounter


def sizes_of(wdl: Any) -> list[int]:
    return list(json.loads((wdl.data.parents[1] / "slot_size_array.json").read_text())["slot_size_array"])


def test_the_right_offsets_give_no_warning(wdl: Any) -> None:
    assert predict(wdl.onnx, wdl.data, slot_size_array=sizes_of(wdl)).warnings == ()


def test_offsets_that_leave_the_table_are_refused(wdl: Any, tmp_path: Path) -> None:
    sizes = [size + 100_000 for size in sizes_of(wdl)]
    with pytest.raises(
        FeedError, match=r"with the offsets 201101 to .* of the slot_size_array, .* keys of deep_data are not in"
    ):
        predict(wdl.onnx, wdl.data, tmp_path / "out.csv", slot_size_array=sizes)
    assert not (tmp_path / "out.csv").exists()


@pytest.mark.parametrize("strategy", ["auto", "label-encoder", "perfect-hash"])
def test_a_slot_of_unknown_keys_is_named(wdl: Any, tmp_path: Path, strategy: str) -> None:
    model = tmp_path / "model.onnx"
    hugectr2onnx.compile(wdl.sample.graph, wdl.sample.weights, keys=strategy).save(model)
    feeds = sample_feeds(wdl.sample, 400)
    feeds["deep_data"] = feeds["deep_data"].copy()
    feeds["deep_data"][100:, 5] += 10**9  # three quarters of the keys of one slot
    warnings = predict(model, [feeds]).warnings
    (warning,) = [each for each in warnings if "slot 5 of deep_data" in each]
    assert "75% of the first 400 keys" in warning or "76% of the first" in warning


def test_rows_in_the_place_of_keys_are_looked_up(wdl: Any, tmp_path: Path) -> None:
    by_key, by_row = predict(wdl.onnx, wdl.data, slot_size_array=sizes_of(wdl)), tmp_path / "rows.onnx"
    hugectr2onnx.compile(wdl.sample.graph, wdl.sample.weights, keys="indices").save(by_row)
    found = predict(by_row, wdl.data, slot_size_array=sizes_of(wdl))
    np.testing.assert_allclose(found.columns["prediction"], by_key.columns["prediction"], rtol=1e-6)


def test_a_scorer_with_key_maps_can_be_sent_around(wdl: Any, tmp_path: Path) -> None:
    hugectr2onnx.compile(wdl.sample.graph, wdl.sample.weights, keys="indices").save(tmp_path / "rows.onnx")
    scorer, feeds = Scorer(tmp_path / "rows.onnx"), sample_feeds(wdl.sample, 16)
    expected = Scorer(wdl.onnx)(feeds)["label"]
    np.testing.assert_allclose(scorer(feeds)["label"], expected, rtol=1e-6)
    np.testing.assert_allclose(pickle.loads(pickle.dumps(scorer))(feeds)["label"], expected, rtol=1e-6)


def test_batches_of_every_width_are_counted_by_one_session(tmp_path: Path) -> None:
    """Two tables read the input, and most places hold padding."""
    builder = ModelBuilder(SparseParam("many", 2, nnz=4, fixed=False), dense=3)
    builder.embedding("many", "first", 4, 50)
    builder.embedding("many", "second", 2, 50)
    builder.reshape("first", "flat1", 8)
    builder.reshape("second", "flat2", 4)
    builder.concat(["flat1", "flat2", "dense"], "joined")
    builder.loss(builder.fc("joined", "fc1", 1))
    graph = builder.graph()
    weights = generate_weights(graph, tmp_path, seed=0, rows=builder.rows, keys="offsets", slot_size_array=(50, 50))
    hugectr2onnx.compile(graph, weights).save(tmp_path / "model.onnx")
    known = [np.fromfile(path, "<i8") for path in sorted(tmp_path.rglob("key"))]
    both = np.intersect1d(*known)
    assert len(both) >= 3
    counter = KeyCounter(tmp_path / "model.onnx", schema_of(tmp_path / "model.onnx"))
    for width in (1, 3, 8, 0, 5):
        keys = np.full((10, 2, width), -1, np.int64)
        keys[:, 0, :1] = both[0]
        keys[:4, 1, :2] = both[1]
        keys[6:, 1, :1] = 1 << 60
        found = {each.slot: (each.keys, each.unknown) for each in counter.count({"many": keys})}
        assert found == ({0: (10, 0), 1: (4 * min(width, 2) + 4, 4)} if width else {})
    assert len(counter._finders) == 1


def test_lists_are_padded_with_the_models_own_padding_key(tmp_path: Path) -> None:
    pa, pq = pytest.importorskip("pyarrow"), pytest.importorskip("pyarrow.parquet")
    from hugectr2onnx.sample_models import write_sample

    sample = write_sample("dcn", tmp_path / "dcn")
    plain, padded = tmp_path / "plain.onnx", tmp_path / "padded.onnx"
    hugectr2onnx.compile(sample.graph, sample.weights).save(plain)
    hugectr2onnx.compile(sample.graph, sample.weights, padding_key=-77).save(padded)
    feeds = sample_feeds(sample, 64)
    (keys,) = [array for array in feeds.values() if array.dtype == np.int64]
    columns = {"label": pa.array(np.zeros(64, np.float32))}
    columns |= {f"I{i + 1}": pa.array(feeds["dense"][:, i].copy()) for i in range(feeds["dense"].shape[1])}
    lists = [
        [[key for key in sample_keys if key >= 0] for sample_keys in keys[:, slot].tolist()]
        for slot in range(keys.shape[1])
    ]
    columns |= {f"C{i + 1}": pa.array(each, pa.list_(pa.int64())) for i, each in enumerate(lists)}
    pq.write_table(pa.table(columns), tmp_path / "data.parquet")
    one, other = (predict(model, tmp_path / "data.parquet").columns["prediction"] for model in (plain, padded))
    np.testing.assert_allclose(one, other, rtol=1e-6)
