"""Select (layers 3.20)."""

from __future__ import annotations

import numpy as np
import pytest

from hugectr2onnx.errors import GraphJsonError, MissingInformationError, ShapeError
from hugectr2onnx.frontend.layers.select import SelectLayer

CLAUSE = {"type": "Select", "bottom": "in0", "top": "out0"}
X = np.arange(24, dtype=np.float32).reshape(2, 3, 4)


def test_positions_are_taken_in_order_with_repeats(run_layer):
    (y,) = run_layer(CLAUSE, X, attrs={"dim": 1, "index": [2, 0, 2]})
    np.testing.assert_array_equal(y, np.stack([X[:, 2], X[:, 0], X[:, 2]], axis=1))


def test_any_dimension_but_the_first(run_layer):
    (y,) = run_layer(CLAUSE, X, attrs={"dim": 2, "index": [3]})
    np.testing.assert_array_equal(y, X[:, :, 3:])


@pytest.mark.parametrize("attrs", [None, {"dim": 1}, {"index": [0]}])
def test_what_the_json_loses_is_asked_for(run_layer, attrs):
    with pytest.raises(MissingInformationError, match=r"layer_attrs=\{'<top>': \{'dim': 1, 'index': \[0, 2\]\}\}"):
        run_layer(CLAUSE, X, attrs=attrs)


@pytest.mark.parametrize("dim", [0, -1])
def test_the_batch_cannot_be_selected_from(run_layer, dim):
    with pytest.raises(GraphJsonError, match="dim"):
        run_layer(CLAUSE, X, attrs={"dim": dim, "index": [0]})


@pytest.mark.parametrize("index", [[], [-1], [0, -2]])
def test_an_index_counts_from_zero(run_layer, index):
    with pytest.raises(GraphJsonError, match="index"):
        run_layer(CLAUSE, X, attrs={"dim": 1, "index": index})


@pytest.mark.parametrize("attrs", [{"dim": 3, "index": [0]}, {"dim": 1, "index": [3]}])
def test_what_the_bottom_lacks_is_refused(run_layer, attrs):
    with pytest.raises(ShapeError, match=r"has no axis 3|positions \[3\] cannot be taken from axis 1"):
        run_layer(CLAUSE, X, attrs=attrs)


def test_the_user_is_warned():
    (caveat,) = SelectLayer(dim=1, index=(0,)).caveats()
    assert "float32" in caveat
