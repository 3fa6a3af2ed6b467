"""Feeds from outside: what is meant without doubt is taken, everything else is refused by name."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from hugectr2onnx.errors import FeedError
from hugectr2onnx.ir.given_feeds import InputForm, check_rows, normalize, normalize_feeds
from hugectr2onnx.ir.types import N, Width, f32, i64, scale

DENSE = InputForm.of_type(f32(N, 2))
ONE_HOT = InputForm.of_type(i64(N, 3, 1))
MULTI_HOT = InputForm.of_type(i64(N, 1, 4))
SYMBOLIC = InputForm(np.dtype(np.int64), ("N", 3, "keys.nnz"))


def refusal(form: InputForm, value: object) -> str:
    with pytest.raises(FeedError) as caught:
        normalize("x", form, value)
    return str(caught.value)


@pytest.mark.parametrize(
    ("form", "value", "expected"),
    [
        (DENSE, [[1, 2]], np.float32([[1, 2]])),
        (DENSE, np.float64([[0.5, 2]]), np.float32([[0.5, 2]])),
        (DENSE, {"a": [1.0, 3.0], "b": [2, 4]}, np.float32([[1, 2], [3, 4]])),
        (ONE_HOT, [[1, 2, 3]], np.int64([[[1], [2], [3]]])),
        (ONE_HOT, {"a": [1, 4], "b": [2, 5], "c": [3, 6]}, np.int64([[[1], [2], [3]], [[4], [5], [6]]])),
        (MULTI_HOT, [[1, 2, 3, 4]], np.int64([[[1, 2, 3, 4]]])),
        (SYMBOLIC, [[1, 2, 3]], np.int64([[[1], [2], [3]]])),
        (SYMBOLIC, {"a": [[1, 9]], "b": [[2, 9]], "c": [[3, 9]]}, np.int64([[[1, 9], [2, 9], [3, 9]]])),
        (InputForm.of_type(i64(N, 1, 1)), [7, 8], np.int64([[[7]], [[8]]])),
        (InputForm.of_type(f32(N, 1)), [0.5, 1.5], np.float32([[0.5], [1.5]])),
        (ONE_HOT, np.uint64([[[1], [2], [3]]]), np.int64([[[1], [2], [3]]])),
    ],
)
def test_what_is_meant_without_doubt(form: InputForm, value: object, expected: np.ndarray) -> None:
    array = normalize("x", form, value)
    assert array.dtype == expected.dtype
    np.testing.assert_array_equal(array, expected)


@pytest.mark.parametrize(
    ("form", "value", "why"),
    [
        (DENSE, [1.0, 2.0], "float64 [2]; the model takes float32 [N, 2]"),
        (DENSE, [[True, False]], "bool [1, 2]"),
        (ONE_HOT, [[1.0, 2.0, 3.0]], "float64 [1, 3, 1]; the model takes int64 [N, 3, 1]"),
        (ONE_HOT, [[1, 2]], "int64 [1, 2]"),
        (InputForm.of_type(i64(N, 3, 4)), [[1, 2, 3, 4]], "int64 [1, 4]"),
        (ONE_HOT, np.full((1, 3, 1), 2**63, np.uint64), "keys beyond int64"),
        (DENSE, {"a": [1.0], "b": [1.0, 2.0]}, "the columns of input x differ in shape: (1,), (2,)"),
        (DENSE, {}, "a mapping without columns"),
        (DENSE, None, "a NoneType"),
        (DENSE, [[1], [2, 3]], "not an array"),
    ],
)
def test_what_is_in_doubt_is_refused(form: InputForm, value: object, why: str) -> None:
    assert why in refusal(form, value)


class Frame:
    """What pandas, polars and pyarrow have in common; columns are arrays that are no numpy arrays."""

    class Column:
        def __init__(self, values: list[Any]):
            self._values = values

        def __array__(self, dtype: Any = None, copy: Any = None) -> np.ndarray:
            return np.array(self._values, dtype)

    def __init__(self, columns: dict[str, list[Any]]):
        self._columns, self.columns, self.shape = columns, list(columns), (2, len(columns))

    def __getitem__(self, name: str) -> Column:
        return self.Column(self._columns[name])


def test_frames_stand_for_their_columns() -> None:
    forms = {"dense": DENSE, "key": InputForm.of_type(i64(N, 1, 1))}
    feeds = {"dense": Frame({"I1": [1.0, 3.0], "I2": [2.0, 4.0]}), "key": Frame({"C1": [5, 6]})}
    arrays = normalize_feeds(forms, feeds)
    np.testing.assert_array_equal(arrays["dense"], [[1, 2], [3, 4]])
    np.testing.assert_array_equal(arrays["key"], [[[5]], [[6]]])
    np.testing.assert_array_equal(normalize_feeds({"key": forms["key"]}, Frame({"key": [5, 6]}))["key"], [[[5]], [[6]]])


def test_an_arrow_table_stands_for_its_columns() -> None:
    pyarrow = pytest.importorskip("pyarrow")
    table = pyarrow.table({"C1": [1, 4], "C2": [2, 5], "C3": [3, 6]})
    np.testing.assert_array_equal(normalize("x", ONE_HOT, table)[:, :, 0], [[1, 2, 3], [4, 5, 6]])


@pytest.mark.parametrize(("rows", "others"), [(0, 4), (1, 3), (2, 3)])
def test_inputs_must_have_the_same_rows(rows: int, others: int) -> None:
    feeds = {"dense": np.zeros((rows, 2)), "keys": np.zeros((others, 3, 1), np.int64)}
    with pytest.raises(FeedError, match=f"input dense has {rows} rows and input keys has {others}; give all"):
        normalize_feeds({"dense": DENSE, "keys": ONE_HOT}, feeds)


def test_a_folded_batch_counts_in_rows() -> None:
    folded = InputForm.of_type(f32(scale(N, 26), 4))
    assert folded.shape == ("26N", 4)
    check_rows([("dense", DENSE, (3, 2)), ("folded", folded, (78, 4))])
    with pytest.raises(FeedError, match="input dense has 3 rows and input folded has 2;"):
        check_rows([("dense", DENSE, (3, 2)), ("folded", folded, (52, 4))])


def test_a_batch_without_a_name_counts_too() -> None:
    unnamed = InputForm(np.dtype(np.float32), (None, None))
    with pytest.raises(FeedError, match="input a has 2 rows and input b has 3;"):
        check_rows([("a", unnamed, (2, 5)), ("b", unnamed, (3, 6))])


def test_widths_of_two_names_may_differ() -> None:
    other = InputForm(np.dtype(np.int64), ("N", 1, "b.nnz"))
    check_rows([("a", SYMBOLIC, (2, 3, 5)), ("b", other, (2, 1, 9))])


def test_labels_are_left_out_and_others_refused() -> None:
    feeds = {"dense": [[1, 2]], "label": [1]}
    assert list(normalize_feeds({"dense": DENSE}, feeds, ignored={"label"})) == ["dense"]
    with pytest.raises(
        FeedError, match=r"lacks keys and has the unknown label; the model's inputs are: .*int64 \[N, 3, 1\]"
    ):
        normalize_feeds({"dense": DENSE, "keys": ONE_HOT}, feeds)


def test_each_request_chooses_a_width() -> None:
    form = InputForm.of_type(i64(N, 2, Width(4, "nnz_data1")))
    assert str(form) == "int64 [N, 2, nnz_data1]"
    assert normalize("data1", form, np.zeros((3, 2, 9), np.int64)).shape == (3, 2, 9)
