from __future__ import annotations

import numpy as np
import pytest

from hugectr2onnx.errors import FeedError
from hugectr2onnx.latency.matching import Wanted, adapt, match

FEED = {
    "dense": np.zeros((4, 13), np.float32),
    "deep": np.arange(4 * 26).reshape(4, 26, 1),
    "wide": np.zeros((4, 2, 1), np.int64),
}


def wanted(name: str, shape: tuple[int | None, ...], dtype: type = np.int64) -> Wanted:
    return Wanted(name, np.dtype(dtype), shape)


def test_inputs_are_matched_by_name() -> None:
    theirs = [wanted("dense", (None, 13), np.float32), wanted("wide", (None, 2, 1))]
    assert match(theirs, FEED, "other") == {"dense": "dense", "wide": "wide"}


def test_an_input_of_another_name_gets_the_only_one_of_its_shape() -> None:
    assert match([wanted("numerical", (None, 13), np.float32)], FEED, "other") == {"numerical": "dense"}


def test_a_name_goes_before_a_shape() -> None:
    feed = {"a": np.zeros((4, 2), np.float32), "b": np.ones((4, 2), np.float32)}
    theirs = [wanted("x", (None, 2), np.float32), wanted("a", (None, 2), np.float32)]
    assert match(theirs, feed, "other") == {"a": "a", "x": "b"}


def test_keys_of_the_same_name_may_have_another_shape() -> None:
    theirs = [wanted("deep", (None, 26))]
    feed = adapt(theirs, match(theirs, FEED, "other"), FEED)
    assert feed["deep"].shape == (4, 26)
    assert feed["deep"].ravel().tolist() == list(range(4 * 26))


def test_narrower_keys_are_converted() -> None:
    theirs = [wanted("deep", (None, 26, 1), np.int32)]
    assert adapt(theirs, match(theirs, FEED, "other"), FEED)["deep"].dtype == np.int32


def test_keys_that_do_not_fit_are_refused() -> None:
    theirs = [wanted("deep", (None, 26, 1), np.int32)]
    feed = {"deep": np.full((4, 26, 1), 1 << 40)}
    with pytest.raises(FeedError, match="do not fit int32"):
        adapt(theirs, match(theirs, feed, "other"), feed)


@pytest.mark.parametrize(
    "theirs",
    [wanted("keys", (None, 7)), wanted("dense", (None, 14), np.float32), wanted("deep", (None, 26, 1), np.float32)],
    ids=["no such shape", "another width", "another type"],
)
def test_an_input_that_nothing_fits_is_refused_with_both_sides(theirs: Wanted) -> None:
    with pytest.raises(FeedError, match=r"none of the inputs there are has its name or shape.*dense float32\[4, 13\]"):
        match([theirs], FEED, "other")


def test_an_input_that_several_fit_is_refused() -> None:
    feed = {"a": np.zeros((4, 2), np.float32), "b": np.zeros((4, 2), np.float32)}
    with pytest.raises(FeedError, match=r"several of the inputs there are have its shape \(a, b\)"):
        match([wanted("x", (None, 2), np.float32)], feed, "other")


def test_an_input_without_columns_is_fed_nothing() -> None:
    """NVIDIA's converter keeps the dense input of a model that has no dense features."""
    theirs = [wanted("dense", (None, 0), np.float32), wanted("deep", (None, 26))]
    feed = {"deep": FEED["deep"]}
    adapted = adapt(theirs, match(theirs, feed, "other"), feed)
    assert adapted["dense"].shape == (4, 0)
    assert adapted["deep"].shape == (4, 26)
