"""Graph -> ONNX: names, the interface, constants, metadata, opsets."""

from __future__ import annotations

import numpy as np
import onnx
import pytest

from hugectr2onnx.backend.onnx.artifact import Artifact
from hugectr2onnx.backend.onnx.emitter import INLINE_LIMIT, emit
from hugectr2onnx.backend.runtime import sessions
from hugectr2onnx.errors import UnsupportedError
from hugectr2onnx.ir.evaluator import evaluate
from hugectr2onnx.ir.graph import Graph
from hugectr2onnx.ir.ops.elementwise import Relu, Sigmoid
from hugectr2onnx.ir.ops.key_maps import Direct
from hugectr2onnx.ir.ops.linear import Linear
from hugectr2onnx.ir.ops.lookup import Embedding
from hugectr2onnx.ir.ops.reduce import ReduceMean
from hugectr2onnx.ir.ops.shape import Repeat, Reshape
from hugectr2onnx.ir.types import N, f32, i64, scale


def emitted(graph: Graph, opset: int = 17, **metadata: str) -> Artifact:
    return emit(graph, graph_name="name", opset=opset, version="1.2", metadata=metadata)


def nodes(artifact: Artifact) -> list[tuple[str, list[str], list[str]]]:
    return [(node.op_type, list(node.input), list(node.output)) for node in artifact.skeleton.graph.node]


def run(graph: Graph, feeds: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    artifact = emitted(graph)
    onnx.checker.check_model(artifact.inline(), full_check=True)
    return sessions.run(sessions.session(artifact), feeds)


@pytest.fixture
def graph() -> Graph:
    return Graph()


@pytest.fixture
def x(graph):
    return graph.input("x", f32(N, 4))


X = np.arange(8, dtype=np.float32).reshape(2, 4) - 3


def test_the_interface_in_order_with_symbolic_dimensions(graph, x):
    other = graph.input("k", i64(scale(N, 26), 2))
    graph.output({"b": Relu()(x), "a": other})
    body = emitted(graph).skeleton.graph
    found = {
        value.name: (
            value.type.tensor_type.elem_type,
            [d.dim_param or d.dim_value for d in value.type.tensor_type.shape.dim],
        )
        for value in (*body.input, *body.output)
    }
    assert list(found) == ["x", "k", "b", "a"]
    assert found["x"] == (onnx.TensorProto.FLOAT, ["N", 4])
    assert found["k"] == (onnx.TensorProto.INT64, ["26N", 2])


def test_names_of_inputs_and_outputs_win_over_hints(graph, x):
    inner = graph.add(Relu(), x, name="y")
    graph.output({"y": graph.add(Sigmoid(), inner, name="x")})
    assert nodes(emitted(graph)) == [("Relu", ["x"], ["y_2"]), ("Sigmoid", ["y_2"], ["y"])]


def test_node_names_are_unique_and_every_node_has_one(graph, x):
    y = x
    for _ in range(3):
        y = graph.add(Relu(), y, name="relu")
    graph.output({"y": y})
    names = [node.name for node in emitted(graph).skeleton.graph.node]
    assert len(set(names)) == 3
    assert all(names)


def test_a_clash_of_a_hint_with_a_constant(graph, x):
    graph.output({"y": graph.add(Relu(), x * graph.const(np.float32([2]), "w"), name="w") + 1})
    np.testing.assert_array_equal(run(graph, {"x": X})["y"], np.maximum(X * 2, 0) + 1)


def test_an_output_that_is_an_input(graph, x):
    graph.output({"y": x})
    assert nodes(emitted(graph)) == [("Identity", ["x"], ["y"])]
    np.testing.assert_array_equal(run(graph, {"x": X})["y"], X)


def test_an_output_that_has_the_name_of_its_input(graph, x):
    """Nothing can be told apart there, and nothing need be."""
    graph.output({"x": x})
    assert nodes(emitted(graph)) == []


def test_an_output_that_is_a_constant(graph, x):
    graph.output({"x2": x + x, "w": graph.const(np.float32([[1, 2]]), "w")})
    np.testing.assert_array_equal(run(graph, {"x": X})["w"], [[1, 2]])


def test_one_value_under_two_output_names(graph, x):
    y = Relu()(x)
    graph.output({"a": y, "b": y})
    assert nodes(emitted(graph)) == [("Relu", ["x"], ["a"]), ("Identity", ["a"], ["b"])]
    answers = run(graph, {"x": X})
    np.testing.assert_array_equal(answers["a"], answers["b"])


def test_an_output_that_others_read(graph, x):
    y = Relu()(x)
    graph.output({"y": y, "z": Sigmoid()(y)})
    assert nodes(emitted(graph)) == [("Relu", ["x"], ["y"]), ("Sigmoid", ["y"], ["z"])]


def test_the_last_node_of_an_expansion_has_the_name_of_the_value(graph):
    x = graph.input("cube", f32(N, 2, 4))
    operands = graph.const(np.ones((4, 1), np.float32), "w"), graph.const(np.ones(1, np.float32), "b")
    graph.output({"y": Relu()(graph.add(Linear(Relu()), x, *operands, name="fc1"))})
    found = nodes(emitted(graph))
    assert [kind for kind, _, _ in found] == ["MatMul", "Add", "Relu", "Relu"]
    assert found[2][2] == ["fc1"]
    assert found[3][1:] == (["fc1"], ["y"])


def test_dead_operations_need_no_output(graph, x):
    graph.output({"y": Relu()(x)})
    Sigmoid()(x)
    np.testing.assert_array_equal(run(graph, {"x": X})["y"], np.maximum(X, 0))


def test_a_small_constant_is_stored_once(graph, x):
    y = Repeat(1, 2)(Reshape((N, 4))(Reshape((N, 4))(x)))
    graph.output({"y": Reshape((N, 8))(y)})
    tensors = emitted(graph).skeleton.graph.initializer
    stored = [onnx.numpy_helper.to_array(tensor).tolist() for tensor in tensors]
    assert sorted(stored) == sorted([[-1, 4], [-1, 4, 1], [1, 1, 2], [-1, 8]])


def test_a_constant_that_nothing_names_is_left_out(graph, x):
    """The keys of a table go into an attribute."""
    keys = graph.input("k", i64(N, 1, 1))
    table = graph.const(np.array([3, 7]), "e.keys"), graph.const(np.float32([[1], [2]]), "e.vectors")
    graph.output({"y": Embedding("sum")(keys, *table)})
    assert "e.keys" not in [tensor.name for tensor in emitted(graph).skeleton.graph.initializer]


def test_small_constants_are_inline_and_large_ones_are_not(graph, x):
    rows = INLINE_LIMIT // 16
    small, large = (
        graph.const(np.zeros((4, size), np.float32), name) for size, name in ((rows - 1, "small"), (rows, "large"))
    )
    graph.output({"y": x @ small, "z": x @ large})
    artifact = emitted(graph)
    assert list(artifact.tensors) == ["large"]
    assert {t.name: t.data_location for t in artifact.skeleton.graph.initializer} == {
        "small": onnx.TensorProto.DEFAULT,
        "large": onnx.TensorProto.EXTERNAL,
    }


def test_a_large_constant_is_not_copied(graph, x):
    weight = np.zeros((4, INLINE_LIMIT // 16), np.float32)
    graph.output({"y": x @ graph.const(weight, "w")})
    (blob,) = emitted(graph).tensors.values()
    assert np.shares_memory(blob.parts[0], weight)


def test_a_constant_that_is_no_contiguous_block(graph, x):
    weight = np.arange(12, dtype=np.float32).reshape(3, 4).T
    graph.output({"y": x @ graph.const(weight)})
    np.testing.assert_array_equal(run(graph, {"x": X})["y"], X @ weight)


def test_look_ups_of_one_table_share_its_rows(graph):
    table = graph.const(np.arange(30)), graph.const(np.zeros((30, 4), np.float32), "rows")
    keys = [graph.input(name, i64(N, 1, 1)) for name in ("a", "b")]
    graph.output({f"y{i}": Embedding("sum")(k, *table) for i, k in enumerate(keys)})
    shapes = [list(tensor.dims) for tensor in emitted(graph).skeleton.graph.initializer]
    assert shapes.count([31, 4]) == 1


@pytest.mark.parametrize("width", [30_000, 200_000])
def test_tables_that_differ_do_not_share_their_row_numbers(graph, width):
    """Between 64 KB and 1 MB a part is neither compared by content nor kept."""
    random = np.random.default_rng(0)
    keys = graph.input("k", i64(N, 1, 1))
    values = {}
    for table in range(6):
        known = random.permutation(width)[: width // 3]
        rows = np.full((len(known), 2), table, np.float32)
        values[f"y{table}"] = Embedding("sum", key_map=Direct(0, width - 1, ordered=False))(
            keys, graph.const(known), graph.const(rows)
        )
    graph.output(values)
    feeds = {"k": random.integers(0, width, (500, 1, 1))}
    expected = evaluate(graph, feeds)
    for name, array in run(graph, feeds).items():
        np.testing.assert_array_equal(array, expected[name])


def test_a_scalar_stays_a_scalar(graph, x):
    graph.output({"y": x + graph.const(np.float32(2), "two"), "two": graph.const(np.float32(3), "three")})
    artifact = emitted(graph)
    assert [list(tensor.dims) for tensor in artifact.skeleton.graph.initializer] == [[], []]
    assert sessions.run(sessions.session(artifact), {"x": X})["two"].shape == ()


def test_nodes_name_the_layers_that_they_come_from(graph, x):
    with graph.building("fc1", "relu1"):
        y = Relu()(x)
    graph.output({"y": y, "z": Sigmoid()(y)})
    found = [{entry.key: entry.value for entry in node.metadata_props} for node in emitted(graph).skeleton.graph.node]
    assert found == [{"hugectr.layer": "fc1, relu1"}, {}]


def test_a_value_without_a_name_is_named_after_its_layer(graph, x):
    with graph.building("fc1"):
        y = Relu()(x)
    graph.output({"z": Sigmoid()(y)})
    assert nodes(emitted(graph))[0][2] == ["fc1.relu"]


@pytest.mark.parametrize("opset, ir_version", [(17, 8), (18, 8), (19, 9), (21, 10), (23, 11)])
def test_versions_are_as_asked(graph, x, opset, ir_version):
    graph.output({"y": ReduceMean(1)(x)})
    model = emitted(graph, opset).skeleton
    assert (model.opset_import[0].version, model.ir_version) == (opset, ir_version)
    onnx.checker.check_model(model, full_check=True)


def test_an_opset_that_the_installed_onnx_lacks_is_refused(graph, x, monkeypatch):
    graph.output({"y": Relu()(x)})
    monkeypatch.setattr(onnx.helper, "OP_SET_ID_VERSION_MAP", {("ai.onnx", 17): 8, ("ai.onnx.ml", 99): 8})
    assert emitted(graph, 17).skeleton.ir_version == 8
    with pytest.raises(UnsupportedError, match=r"opset 18 is later than the installed onnx .* knows, up to 17"):
        emitted(graph, 18)


def test_domains_are_declared_where_they_are_used(graph):
    keys = graph.input("k", i64(N, 1, 1))
    table = graph.const(np.array([3, 7])), graph.const(np.float32([[1], [2]]))
    graph.output({"y": Embedding("sum")(keys, *table)})
    imports = {entry.domain: entry.version for entry in emitted(graph).skeleton.opset_import}
    assert imports == {"": 17, "ai.onnx.ml": 4}


def test_the_model_says_who_made_it(graph, x):
    graph.output({"y": Relu()(x)})
    model = emitted(graph, key="value").skeleton
    assert (model.producer_name, model.producer_version, model.graph.name) == ("hugectr2onnx", "1.2", "name")
    assert [(entry.key, entry.value) for entry in model.metadata_props] == [("key", "value")]


def test_the_same_graph_gives_the_same_bytes(graph, x):
    graph.output({"y": Relu()(x @ graph.const(np.ones((4, 2), np.float32)) + 1)})
    one, two = (emitted(each).skeleton.SerializeToString(deterministic=True) for each in (graph, graph.clone()))
    assert one == two
