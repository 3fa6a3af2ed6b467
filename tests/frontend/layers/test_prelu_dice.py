"""PReLU_Dice (layers 3.26)."""

from __future__ import annotations

import numpy as np
import pytest

from hugectr2onnx.errors import GraphJsonError, ShapeError
from hugectr2onnx.frontend.layers.prelu_dice import PReLUDiceLayer

X = np.array([[1, 2], [3, -4], [5, 0]], np.float32)
EXPECTED = [[0.381682, 1.591064], [1.8, -1.465978], [4.09159, 0]]
MEAN, VAR = [3, -2 / 3], [8 / 3, 56 / 9]


def dice(**prelu_dice_param):
    return {"type": "PReLU_Dice", "bottom": "in0", "top": "out0", "prelu_dice_param": prelu_dice_param}


@pytest.mark.parametrize("name", ["alpha", "elu_alpha"])
def test_the_statistics_are_those_of_the_batch(run_layer, name):
    (y,) = run_layer(dice(eps=1e-8, **{name: 0.2}), X)
    np.testing.assert_allclose(y, EXPECTED, rtol=2e-6)


def test_a_row_alone_is_half_itself_and_half_alpha(run_layer):
    (y,) = run_layer(dice(alpha=0.2, eps=1e-8), X[:1])
    np.testing.assert_allclose(y, [[0.6, 1.2]], rtol=1e-6)


def test_frozen_statistics_make_rows_independent(run_layer):
    (y,) = run_layer(dice(alpha=0.2, eps=1e-8), X[:1], attrs={"mean": MEAN, "var": VAR})
    np.testing.assert_allclose(y, EXPECTED[:1], rtol=2e-6)


def test_a_constant_column_gives_numbers(run_layer):
    (y,) = run_layer(dice(alpha=0.0, eps=1e-8), np.full((7, 1), 0.1, np.float32))
    np.testing.assert_allclose(y, np.full((7, 1), 0.05), rtol=1e-3)


def test_alpha_and_eps_have_defaults(run_layer):
    (y,) = run_layer({"type": "PReLU_Dice", "bottom": "in0", "top": "out0"}, X)
    np.testing.assert_allclose(y, X, rtol=1e-6)


def test_three_dimensions_are_refused(run_layer):
    with pytest.raises(ShapeError, match="Dice"):
        run_layer(dice(alpha=0.2, eps=1e-8), X[None])


@pytest.mark.parametrize("param", [{"eps": -1e-8}, {"eps": np.nan}, {"alpha": np.inf}, {"alpha": 1e300}])
def test_senseless_parameters_are_refused(run_layer, param):
    with pytest.raises(GraphJsonError, match=r"prelu_dice_param|alpha"):
        run_layer(dice(**param), X)


@pytest.mark.parametrize(
    "attrs, error",
    [
        ({"mean": MEAN}, GraphJsonError),
        ({"var": VAR}, GraphJsonError),
        ({"mean": MEAN, "var": [1, -1]}, GraphJsonError),
        ({"mean": [1, np.nan], "var": VAR}, GraphJsonError),
        ({"mean": [1], "var": [1]}, ShapeError),
    ],
)
def test_frozen_statistics_must_be_two_lists_of_a_number_a_column(run_layer, attrs, error):
    with pytest.raises(error, match=r"PReLU_Dice|layer_attrs"):
        run_layer(dice(alpha=0.2, eps=1e-8), X, attrs=attrs)


def test_only_batch_statistics_have_a_caveat():
    assert len(list(PReLUDiceLayer().caveats())) == 1
    assert not list(PReLUDiceLayer(mean=(0.0,), var=(1.0,)).caveats())
