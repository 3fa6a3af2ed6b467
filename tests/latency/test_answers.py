from __future__ import annotations

import numpy as np

from hugectr2onnx.latency.answers import compare_outputs


def test_a_difference_within_the_tolerance_is_none() -> None:
    (found,) = compare_outputs({"y": np.array([1.0, 2.0])}, {"y": np.array([1.0001, 2.0])})
    assert found.same
    assert 9e-5 < found.max_error < 1.1e-4


def test_the_share_out_of_tolerance_is_counted() -> None:
    (found,) = compare_outputs({"y": np.zeros(4)}, {"y": np.array([0, 0, 0, 0.5])})
    assert (found.same, found.max_error, found.share) == (False, 0.5, 0.25)
    assert str(found) == "y: differs by up to 0.5, in 25.0% of the elements too much"


def test_outputs_of_other_names_are_compared_in_their_order() -> None:
    (found,) = compare_outputs({"label": np.zeros((2, 1))}, {"out": np.zeros(2)})
    assert (found.other, found.same) == ("out", True)


def test_outputs_of_the_same_names_are_compared_by_name() -> None:
    found = compare_outputs({"a": np.zeros(1), "b": np.ones(1)}, {"b": np.ones(1), "a": np.zeros(1)})
    assert all(each.same for each in found)


def test_another_shape_is_a_problem() -> None:
    (found,) = compare_outputs({"y": np.zeros((2, 1))}, {"y": np.zeros((2, 3))})
    assert str(found) == "y: the shapes differ: [2, 1] and [2, 3]"


def test_another_number_of_outputs_is_a_problem() -> None:
    (found,) = compare_outputs({"y": np.zeros(1)}, {"y": np.zeros(1), "z": np.zeros(1)})
    assert "1 outputs here and 2 there: y, z" in str(found)


def test_what_is_not_finite_on_one_side_differs() -> None:
    (found,) = compare_outputs({"y": np.array([np.nan, np.nan])}, {"y": np.array([np.nan, 0.0])})
    assert (found.share, found.max_error) == (0.5, np.inf)
