"""MultiCross, v1 and v2 (layers 3.4)."""

from __future__ import annotations

import numpy as np
import pytest

from hugectr2onnx.errors import GraphJsonError, ShapeError

X = np.array([[1, 2, 3]], np.float32)
V1 = [[0.1, 0.2, 0.3], [0.01, 0.02, 0.03], [0.5, -0.5, 0.25], [1, 1, 1]]
V2 = [[[0.1, 0], [0, 0.1], [0.1, 0.1]], [[0.1, 0.2, 0.3], [0.4, 0.5, 0.6]], [0.1, 0.2, 0.3]]


def multi_cross(num_layers, **mc_param):
    return {"type": "MultiCross", "bottom": "in0", "top": "out0", "mc_param": {"num_layers": num_layers, **mc_param}}


def test_v1_adds_the_bias_outside_the_product(run_layer):
    (y,) = run_layer(multi_cross(1), X, weights=V1[:2])
    np.testing.assert_allclose(y, [[2.41, 4.82, 7.23]], rtol=1e-6)


def test_v1_multiplies_every_layer_by_the_bottom(run_layer):
    (y,) = run_layer(multi_cross(2), X, weights=V1)
    np.testing.assert_allclose(y, [[4.0125, 7.025, 10.0375]], rtol=1e-6)


def test_v2_adds_the_bias_inside_the_product(run_layer):
    (y,) = run_layer(multi_cross(1, projection_dim=2), X, weights=V2)
    np.testing.assert_allclose(y, [[1.34, 3.06, 5.16]], rtol=1e-6)


def test_v2_takes_its_projection_from_layer_attrs(run_layer):
    (y,) = run_layer(multi_cross(1), X, weights=V2, attrs={"projection_dim": 2})
    np.testing.assert_allclose(y, [[1.34, 3.06, 5.16]], rtol=1e-6)


def test_v2_multiplies_every_layer_by_the_bottom(run_layer):
    rng = np.random.default_rng(2)
    x = rng.standard_normal((4, 3)).astype(np.float32)
    u, v, b = (rng.standard_normal((2, *shape)).astype(np.float32) for shape in ((3, 5), (5, 3), (3,)))
    (y,) = run_layer(multi_cross(2, projection_dim=5), x, weights=[u[0], v[0], b[0], u[1], v[1], b[1]])
    first = x * (x @ u[0] @ v[0] + b[0]) + x
    np.testing.assert_allclose(y, x * (first @ u[1] @ v[1] + b[1]) + first, rtol=1e-4, atol=1e-5)


def test_three_dimensions_are_refused(run_layer):
    with pytest.raises(ShapeError, match="3 dimensions"):
        run_layer(multi_cross(1), X[:, None], weights=V1[:2])


@pytest.mark.parametrize("count", [0, 10**9])
def test_a_senseless_number_of_layers_is_refused(run_layer, count):
    with pytest.raises(GraphJsonError, match="num_layers"):
        run_layer(multi_cross(count), X, weights=V1[:2])


def test_a_negative_projection_is_refused(run_layer):
    with pytest.raises(GraphJsonError, match="projection_dim"):
        run_layer(multi_cross(1, projection_dim=-1), X, weights=V1[:2])
