from __future__ import annotations

import numpy as np
import pytest
from onnx import TensorProto, helper, numpy_helper

from hugectr2onnx.backend.onnx.artifact import Artifact
from hugectr2onnx.latency.bound_calls import Settings
from hugectr2onnx.latency.floor import CALL, FloorParts, MatrixProduct, TableGather, floor_of
from hugectr2onnx.latency.floor_models import floor_calls
from hugectr2onnx.latency.floor_parts import Probe

FLOAT, INT64 = TensorProto.FLOAT, TensorProto.INT64
RANDOM = np.random.default_rng(0)


def artifact(nodes, inputs, constants) -> Artifact:
    """A model that returns `y`."""
    entries = [helper.make_tensor_value_info(name, kind, shape) for name, (kind, shape) in inputs.items()]
    output = helper.make_tensor_value_info("y", FLOAT, None)
    weights = [numpy_helper.from_array(array, name) for name, array in constants.items()]
    graph = helper.make_graph(nodes, "model", entries, [output], weights)
    return Artifact(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), {})


def weights(*shape: int) -> np.ndarray:
    return RANDOM.normal(size=shape).astype(np.float32)


def parts_of(model: Artifact, **feed: np.ndarray) -> dict:
    return dict(Probe(model).look([feed])[0].counts)


def test_floor_is_one_call_and_what_the_parts_take_beyond_their_own() -> None:
    # Two rounds. 2 + (12 - 2) + 3 * (5 - 2) = 21; 4 + (14 - 4) + 3 * (5 - 4) = 17.
    assert floor_of([2.0, 4.0], {"a": [12.0, 14.0], "b": [5.0, 5.0]}, {"a": 1, "b": 3}) == [21.0, 17.0]


def test_part_that_takes_less_than_an_empty_call_adds_nothing() -> None:
    assert floor_of([2.0], {"a": [1.5]}, {"a": 1}) == [2.0]


def test_floor_of_a_model_without_parts_is_one_call() -> None:
    assert floor_of([2.0, 3.0], {}, {}) == [2.0, 3.0]


def test_product_counts_at_the_batch_without_bias_and_activation() -> None:
    nodes = [
        helper.make_node("Gemm", ["x", "w", "b"], ["h"]),
        helper.make_node("Relu", ["h"], ["y"]),
    ]
    model = artifact(nodes, {"x": (FLOAT, ["N", 3])}, {"w": weights(3, 5), "b": weights(5)})
    assert parts_of(model, x=weights(7, 3)) == {MatrixProduct((7, 3), (3, 5)): 1}


def test_products_of_one_shape_are_counted_together() -> None:
    nodes = [helper.make_node("MatMul", ["x", "w"], ["h"]), helper.make_node("MatMul", ["h", "v"], ["y"])]
    model = artifact(nodes, {"x": (FLOAT, ["N", 4])}, {"w": weights(4, 4), "v": weights(4, 4)})
    assert parts_of(model, x=weights(2, 4)) == {MatrixProduct((2, 4), (4, 4)): 2}


def test_product_of_two_activations_has_no_weights_to_pack() -> None:
    nodes = [
        helper.make_node("Transpose", ["x"], ["t"], perm=[0, 2, 1]),
        helper.make_node("MatMul", ["x", "t"], ["y"]),
    ]
    model = artifact(nodes, {"x": (FLOAT, ["N", 3, 4])}, {})
    assert parts_of(model, x=weights(2, 3, 4)) == {MatrixProduct((2, 3, 4), (2, 4, 3), constant=False): 1}


def test_product_of_constants_is_work_that_folding_removes() -> None:
    nodes = [helper.make_node("MatMul", ["w", "v"], ["wv"]), helper.make_node("Add", ["x", "wv"], ["y"])]
    model = artifact(nodes, {"x": (FLOAT, ["N", 4])}, {"w": weights(1, 3), "v": weights(3, 4)})
    assert parts_of(model, x=weights(2, 4)) == {}


@pytest.mark.parametrize(
    "matrix", [np.ones((4, 1)), np.full((4, 1), 0.25), np.eye(4)[:, :2]], ids=["sum", "mean", "selection"]
)
def test_sum_or_selection_spelled_as_a_product_does_not_count(matrix: np.ndarray) -> None:
    nodes = [helper.make_node("MatMul", ["x", "m"], ["y"])]
    model = artifact(nodes, {"x": (FLOAT, ["N", 4])}, {"m": matrix.astype(np.float32)})
    assert parts_of(model, x=weights(2, 4)) == {}


def test_gather_of_table_rows_counts_with_the_rows_of_each_feed() -> None:
    nodes = [helper.make_node("Gather", ["table", "rows"], ["y"], axis=0)]
    probe = Probe(artifact(nodes, {"rows": (INT64, ["N", 2])}, {"table": weights(9, 4)}))
    feeds = [{"rows": np.array([[1, 2]])}, {"rows": np.array([[8, 8]])}]
    parts, indices = probe.look(feeds)
    assert dict(parts.counts) == {TableGather("table", "rows"): 1}
    assert [each["rows"].tolist() for each in indices] == [[[1, 2]], [[8, 8]]]
    assert probe.table("table").shape == (9, 4)


def test_gather_by_constant_positions_is_data_movement() -> None:
    nodes = [helper.make_node("Gather", ["x", "positions"], ["y"], axis=1)]
    model = artifact(nodes, {"x": (FLOAT, ["N", 4])}, {"positions": np.array([2, 0])})
    assert parts_of(model, x=weights(2, 4)) == {}


def test_gru_is_one_product_of_all_steps_and_one_for_each_state() -> None:
    operands = {"w": weights(1, 6, 3), "r": weights(1, 6, 2), "b": weights(1, 12)}
    nodes = [helper.make_node("GRU", ["x", *operands], ["y"], hidden_size=2)]
    model = artifact(nodes, {"x": (FLOAT, [5, "N", 3])}, operands)
    assert parts_of(model, x=weights(5, 4, 3)) == {MatrixProduct((20, 3), (3, 6)): 1, MatrixProduct((4, 2), (2, 6)): 5}


def test_operators_that_may_hide_products_are_named() -> None:
    nodes = [helper.make_node("Einsum", ["x", "w"], ["y"], equation="ab,bc->ac")]
    model = artifact(nodes, {"x": (FLOAT, ["N", 4])}, {"w": weights(4, 4)})
    assert Probe(model).look([{"x": weights(2, 4)}])[0].uncounted == ("Einsum",)


def test_weight_bytes_are_those_of_the_products() -> None:
    parts = {
        MatrixProduct((7, 3), (3, 5)): 2,
        MatrixProduct((7, 3), (3, 7), constant=False): 1,
        TableGather("t", "r"): 1,
    }
    assert FloorParts(parts).weight_bytes == 2 * 3 * 5 * 4


def test_every_kind_of_part_can_be_run_alone() -> None:
    nodes = [helper.make_node("Gather", ["table", "rows"], ["y"], axis=0)]
    probe = Probe(artifact(nodes, {"rows": (INT64, ["N"])}, {"table": weights(9, 4)}))
    parts = {
        MatrixProduct((7, 3), (3, 5)): 1,
        MatrixProduct((7, 3), (5, 3), transpose_right=True): 1,
        MatrixProduct((2, 7, 3), (2, 5, 3), transpose_right=True, constant=False): 1,
        TableGather("table", "rows"): 1,
    }
    calls = floor_calls(probe, parts, [{"rows": np.array([1])}, {"rows": np.array([2])}], Settings())
    assert {name: len(each) for name, each in calls.items()} == {
        CALL: 1,
        "[7x3] @ [3x5]": 1,
        "[7x3] @ [5x3]T": 1,
        "[2x7x3] @ [2x5x3]T, no weights": 1,
        "rows of table": 2,
    }
    for each in calls.values():
        each[0]()
