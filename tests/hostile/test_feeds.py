"""Feeds that do not fit the model: refused by name before onnxruntime sees them; those that do, in any clothing."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from hugectr2onnx import CompiledModel, FeedError

Change = Callable[[np.ndarray], Any]


@pytest.fixture
def compiled(model: Any) -> CompiledModel:
    return model.compile(2)


def refusal(compiled: CompiledModel, feeds: Any) -> str:
    with pytest.raises(FeedError) as caught:
        compiled.run(feeds)
    return str(caught.value)


WRONG: dict[str, Change] = {
    "None": lambda _: None,
    "a number": lambda _: 1,
    "a text": lambda _: "x",
    "bytes": lambda _: b"x",
    "an empty list": lambda _: [],
    "a ragged list": lambda _: [[1], [2, 3]],
    "a large number": lambda _: [[10**30]],
    "a dict": lambda _: {},
    "an object": lambda _: object(),
    "objects": lambda x: x.astype(object),
    "texts": lambda x: x.astype("U"),
    "complex": lambda x: x.astype(complex),
    "booleans": lambda x: x.astype(bool),
    "dates": lambda x: x.astype("M8[s]"),
    "one sample without its axis": lambda x: x[0],
    "an axis too many": lambda x: x[None],
    "another width": lambda x: x[:, :0],
    "twice the width": lambda x: np.concatenate([x, x], axis=1),
}


@pytest.mark.parametrize("change", WRONG.values(), ids=WRONG.keys())
@pytest.mark.parametrize("name", ["dense", "data1"])
def test_an_input_of_a_wrong_kind(model: Any, compiled: CompiledModel, name: str, change: Change) -> None:
    feeds = model.feeds()
    assert name in refusal(compiled, {**feeds, name: change(feeds[name])})


def test_floats_for_keys(model: Any, compiled: CompiledModel) -> None:
    feeds = model.feeds()
    assert "data1" in refusal(compiled, {**feeds, "data1": feeds["data1"].astype(np.float32)})


def test_keys_that_int64_cannot_hold(model: Any, compiled: CompiledModel) -> None:
    feeds = model.feeds()
    assert "data1" in refusal(compiled, {**feeds, "data1": np.full(feeds["data1"].shape, 2**63, np.uint64)})


@pytest.mark.parametrize("name", ["dense", "data1", "data2"])
def test_a_missing_input(model: Any, compiled: CompiledModel, name: str) -> None:
    feeds = model.feeds()
    del feeds[name]
    assert f"lacks {name}" in refusal(compiled, feeds)


@pytest.mark.parametrize("name", ["extra", "", 1, None, ("a",)])
def test_an_unknown_input(model: Any, compiled: CompiledModel, name: Any) -> None:
    assert "has the unknown" in refusal(compiled, {**model.feeds(), name: np.zeros(1)})


@pytest.mark.parametrize("feeds", [None, [], "dense", 5, [("dense", 1)]], ids=repr)
def test_feeds_that_are_no_mapping(compiled: CompiledModel, feeds: Any) -> None:
    assert "mapping" in refusal(compiled, feeds)


def test_batches_that_differ(model: Any, compiled: CompiledModel) -> None:
    """None, one and three rows beside more: onnxruntime answered, broadcast, and failed in its own words."""
    feeds, rows = model.feeds(), len(model.feeds()["dense"])
    for count in (0, 1, 3):
        said = refusal(compiled, {**feeds, "dense": feeds["dense"][:count]})
        assert f"input dense has {count} rows" in said and f"has {rows};" in said


RIGHT: dict[str, Change] = {
    "a list": lambda x: x.tolist(),
    "Fortran order": np.asfortranarray,
    "a view backwards": lambda x: x[::-1][::-1],
    "the other byte order": lambda x: x.astype(x.dtype.newbyteorder()),
    "a masked array": np.ma.array,
    "wide floats and narrow integers": lambda x: x.astype(np.float64 if x.dtype.kind == "f" else np.int8),
}


@pytest.mark.parametrize("change", RIGHT.values(), ids=RIGHT.keys())
def test_the_same_numbers_in_another_form(model: Any, compiled: CompiledModel, change: Change) -> None:
    feeds = model.feeds()
    answers = compiled.run({name: change(array) for name, array in feeds.items()})
    np.testing.assert_array_equal(answers["label"], compiled.run(feeds)["label"])


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf, 3.4e38, 1e-45])
def test_floats_of_every_kind_are_computed(model: Any, compiled: CompiledModel, value: float) -> None:
    feeds = model.feeds()
    feeds["dense"][0] = value
    answers = compiled.run(feeds)["label"]
    np.testing.assert_array_equal(answers[1:], compiled.run(model.feeds())["label"][1:])


def test_floats_that_float32_cannot_hold_become_infinite(model: Any, compiled: CompiledModel) -> None:
    feeds = model.feeds()
    wide = feeds["dense"].astype(np.float64)
    wide[0, 0], feeds["dense"][0, 0] = 1e300, np.inf
    np.testing.assert_array_equal(compiled.run({**feeds, "dense": wide})["label"], compiled.run(feeds)["label"])


@pytest.mark.parametrize("key", [-(2**63), -1, 0, 2**31, 2**32 - 1, 2**53 + 1, 2**63 - 1])
def test_keys_of_every_size_are_looked_up(model: Any, compiled: CompiledModel, key: int) -> None:
    feeds = model.feeds()
    feeds["data1"][:], feeds["data2"][:] = key, key
    assert np.isfinite(compiled.run(feeds)["label"]).all()


def test_a_batch_of_nothing(model: Any, compiled: CompiledModel) -> None:
    assert compiled.run(model.feeds(0))["label"].shape == (0, 1)
