"""What the size and the contents of dense and ntp files say about the layers."""

from __future__ import annotations

import numpy as np
import pytest

from hugectr2onnx.checking.report import DenseCheck, LayerCheck, place_layers
from hugectr2onnx.checking.weights import missing_statistics_error, nan_warnings, size_errors, statistics_errors
from hugectr2onnx.frontend.graph_json.clauses import LayerClause
from hugectr2onnx.frontend.weights.dense_file import DenseFile
from hugectr2onnx.frontend.weights.ntp_file import BatchNormStatistics

LAYERS = (
    LayerCheck(1, "InnerProduct", ("dense",), ("a",), weights={"weight": (3, 2), "bias": (2,)}, expected_bytes=32),
    LayerCheck(2, "MultiCross", ("a",), ("b",), weights={"weight": (2,), "bias": (2,)}, expected_bytes=16),
)
"""The first has the bytes 0 to 24 and 24 to 32, the second 32 to 40 and 40 to 48."""


def told(found: int | None, *, is_complete: bool = True, layers: tuple[LayerCheck, ...] = LAYERS) -> list[str]:
    return [str(error) for error in size_errors(DenseCheck("d.model", 48, found, is_complete), layers)]


@pytest.mark.parametrize("found", [48, None])
def test_a_file_that_fits_or_was_not_given_is_no_error(found: int | None) -> None:
    assert told(found) == []


def test_a_short_file_says_how_much_is_missing_and_in_which_weight_it_ends() -> None:
    assert told(28) == [
        "d.model: has 28 bytes and the layers need 48: 20 bytes are missing; it ends in layers[1] InnerProduct dense -> a, "
        "whose bias [2] takes the bytes 24 to 32; the file is truncated, or the dense file of another graph"
    ]


def test_a_short_file_before_layers_of_unknown_size_needs_at_least_so_much() -> None:
    (error,) = told(40, is_complete=False)
    assert "the layers need at least 48" in error
    assert "layers[2] MultiCross a -> b, whose bias [2] takes the bytes 40 to 48" in error


def test_a_long_file_names_the_last_weights_and_the_cross_network_that_may_need_more() -> None:
    assert told(56) == [
        "d.model: has 56 bytes and the layers need 48: 8 bytes (2 floats) are left over behind the last weights, those of "
        "layers[2] MultiCross a -> b; it is the dense file of another graph, or of a DCN v2 whose projection_dim must be "
        "given in layer_attrs"
    ]


def test_a_long_file_for_a_graph_without_weights_says_so() -> None:
    (error,) = size_errors(DenseCheck("d.model", 0, 4, True), ())
    assert "4 bytes (1 floats) are left over: the graph has no layer with weights" in str(error)


def test_a_long_file_is_no_error_while_a_layer_is_of_unknown_size() -> None:
    assert told(56, is_complete=False) == []


def test_nan_is_told_of_the_layer_that_has_it() -> None:
    floats = np.zeros(12, np.float32)
    floats[9] = np.nan
    (warning,) = nan_warnings(DenseFile(floats), place_layers(LAYERS, 48))
    assert warning.startswith("layers[2] MultiCross a -> b: its weights hold NaN")


def norm(index: int) -> LayerClause:
    return LayerClause(index, "BatchNorm", ("x",), (f"n{index}",), {})


def statistics(features: int) -> BatchNormStatistics:
    return BatchNormStatistics(np.zeros(features, np.float32), np.ones(features, np.float32), "n.json")


def test_a_missing_ntp_file_is_named_after_the_dense_file() -> None:
    error = str(missing_statistics_error([norm(1), norm(2)], "wdl_dense_7.model"))
    assert "2 BatchNorm layers need their running statistics" in error
    assert error.endswith("beside the dense file as wdl_dense_7.model.ntp.json")


def test_an_ntp_file_of_another_model_has_another_number_of_entries() -> None:
    (error,) = statistics_errors([norm(1)], {1: 4}, [statistics(4), statistics(4)], "n.json")
    assert str(error) == "n.json: has 2 BatchNorm entries and the graph 1 BatchNorm layers: it belongs to another model"


def test_entries_of_another_width_are_told_with_their_layer() -> None:
    (error,) = statistics_errors([norm(1), norm(2)], {1: 4, 2: 5}, [statistics(4), statistics(3)], "n.json")
    found = error.describe()
    assert "3" in found and "5" in found
    assert "while reading the statistics of layers[2] BatchNorm" in found


def test_a_layer_that_was_not_reached_takes_any_width() -> None:
    assert list(statistics_errors([norm(1)], {}, [statistics(3)], "n.json")) == []
