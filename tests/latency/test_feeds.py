"""Drawn inputs hold keys of the tables, whatever way the file finds its rows by."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import hugectr2onnx
from hugectr2onnx.errors import FeedError
from hugectr2onnx.latency.feeds import DatasetFeeds, DrawnFeeds, FileInput
from hugectr2onnx.sample_models import SamplePaths, sample_feeds
from hugectr2onnx.tables.key_index import column


def keys_of(sample: SamplePaths, table: int) -> np.ndarray:
    return np.fromfile(sample.weights.tables[table] / "key", "<i8")


@pytest.mark.parametrize("keys", ["label-encoder", "perfect-hash"])
@pytest.mark.parametrize("interface", ["padded", "csr", "hugectr"])
def test_drawn_keys_are_those_of_the_tables(wdl: SamplePaths, keys: str, interface: str) -> None:
    compiled = hugectr2onnx.compile(wdl.graph, wdl.weights, keys=keys, interface=interface, check=False)
    drawn = DrawnFeeds(compiled.artifact)
    feed = drawn.feed(16)
    if interface == "hugectr":
        wide, deep = np.split(feed["CATCOLUMN"], [16 * 2])
    else:
        wide, deep = feed["wide_data"], feed["deep_data"]
    assert set(wide.reshape(-1).tolist()) <= set(keys_of(wdl, 0).tolist())
    assert set(deep.reshape(-1).tolist()) <= set(keys_of(wdl, 1).tolist())
    assert deep.size == 16 * 26
    assert drawn.name == "drawn inputs, with keys that the model knows"
    assert compiled.run(feed)["label"].shape == (16, 1)


def test_keys_of_a_direct_map_lie_below_its_largest(wdl: SamplePaths) -> None:
    """The gaps between keys have rows of zeros there, so that their keys are found too."""
    compiled = hugectr2onnx.compile(wdl.graph, wdl.weights, keys="direct", check=False)
    known = column(keys_of(wdl, 1))
    drawn = DrawnFeeds(compiled.artifact).feed(64)["deep_data"]
    assert drawn.min() >= 0
    assert drawn.max() <= known.high


def test_rows_in_the_place_of_keys_exist(wdl: SamplePaths) -> None:
    compiled = hugectr2onnx.compile(wdl.graph, wdl.weights, keys="indices", check=False)
    drawn = DrawnFeeds(compiled.artifact).feed(64)
    assert drawn["wide_data"].min() >= 0 and drawn["wide_data"].max() < 60


def test_another_seed_draws_others(wdl: SamplePaths) -> None:
    compiled = hugectr2onnx.compile(wdl.graph, wdl.weights, check=False)
    first, again, other = (DrawnFeeds(compiled.artifact, seed).feed(8)["dense"] for seed in (0, 0, 1))
    np.testing.assert_array_equal(first, again)
    assert not np.array_equal(first, other)


@pytest.mark.parametrize(
    ("dims", "batch", "shape"),
    [(("N", 13), 4, (4, 13)), (("26N", 2), 4, (104, 2)), (("N/2", 3), 4, (2, 3)), (("?", 2, "nnz"), 4, (4, 2, 1))],
)
def test_shape_at_a_batch(dims: Any, batch: int, shape: tuple[int, ...]) -> None:
    assert FileInput("x", np.dtype(np.float32), dims).shape(batch) == shape


def test_a_file_that_takes_one_batch_says_so() -> None:
    with pytest.raises(FeedError, match="input x takes batches of 8 alone: measure that batch"):
        FileInput("x", np.dtype(np.float32), (8, 13)).shape(4)


def test_data_with_fewer_samples_than_a_batch_is_repeated(wdl: SamplePaths) -> None:
    compiled = hugectr2onnx.compile(wdl.graph, wdl.weights, check=False)
    own = sample_feeds(wdl, 3)
    feeds = DatasetFeeds.open(own, compiled, [4]).feeds(4)
    np.testing.assert_array_equal(feeds[0]["dense"], own["dense"][[0, 1, 2, 0]])
    np.testing.assert_array_equal(feeds[1]["dense"], own["dense"][[1, 2, 0, 1]])
