"""A model goes to onnxsim without its weights and comes back with them."""

from __future__ import annotations

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from hugectr2onnx.backend.simplify import skeleton
from hugectr2onnx.backend.simplify.skeleton import SkeletonError, restore, strip

KEYS = np.array([70, 80, 90])
LARGE = np.arange(30000, dtype=np.float32)
"""120,000 bytes, above the 65,536 from which a tensor becomes an input."""


def model(name: str = "map") -> onnx.ModelProto:
    """y = large[map(x)] + one: a key table, a large and a small constant."""
    keys = numpy_helper.from_array(KEYS, "keys")
    values = numpy_helper.from_array(np.arange(3), "values")
    missing = numpy_helper.from_array(np.array([0]), "missing")
    nodes = [
        helper.make_node(
            "LabelEncoder",
            ["x"],
            ["row"],
            name,
            domain="ai.onnx.ml",
            keys_tensor=keys,
            values_tensor=values,
            default_tensor=missing,
        ),
        helper.make_node("Gather", ["large", "row"], ["v"], "gather"),
        helper.make_node("Add", ["v", "one"], ["y"], "add"),
    ]
    nodes[1].metadata_props.add(key="hugectr.layer", value="emb")
    tensors = [numpy_helper.from_array(LARGE, "large"), numpy_helper.from_array(np.float32([1]), "one")]
    inputs = [helper.make_tensor_value_info("x", TensorProto.INT64, ["N"])]
    outputs = [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["N"])]
    opsets = [helper.make_opsetid("", 17), helper.make_opsetid("ai.onnx.ml", 4)]
    graph = helper.make_graph(nodes, "g", inputs, outputs, tensors)
    return helper.make_model(graph, opset_imports=opsets, ir_version=8)


def answer_to(sent: onnx.ModelProto) -> onnx.ModelProto:
    copy = onnx.ModelProto()
    copy.CopyFrom(sent)
    return copy


def test_a_large_tensor_becomes_an_input_and_a_small_one_stays() -> None:
    sent = strip(model()).model
    assert [each.name for each in sent.graph.input] == ["x", "large"]
    assert [each.name for each in sent.graph.initializer] == ["one"]


def test_a_key_table_becomes_one_element_that_no_other_node_has() -> None:
    (encoder, *_) = strip(model()).model.graph.node
    found = {each.name: numpy_helper.to_array(each.t).tolist() for each in encoder.attribute}
    assert found == {"keys_tensor": [0], "values_tensor": [0], "default_tensor": [0]}


def test_an_unchanged_answer_gives_the_model_back() -> None:
    stripped = strip(model())
    restored = restore(stripped, answer_to(stripped.model))
    assert restored == model()


def test_a_node_that_onnxsim_made_gets_the_layer_of_the_node_that_it_reads() -> None:
    stripped = strip(model())
    answer = answer_to(stripped.model)
    answer.graph.node.insert(2, helper.make_node("Relu", ["v"], ["v_17"], "onnxsim_17"))
    answer.graph.node[3].input[0] = "v_17"
    made = restore(stripped, answer).graph.node[2]
    assert [(each.key, each.value) for each in made.metadata_props] == [("hugectr.layer", "emb")]
    # The names of onnxsim depend on what its process did before, so they are numbered anew.
    assert (made.name, list(made.output)) == ("simplified_0", ["folded_0"])


def test_a_large_tensor_that_nothing_reads_any_more_does_not_come_back() -> None:
    stripped = strip(model())
    answer = answer_to(stripped.model)
    answer.graph.node[1].CopyFrom(helper.make_node("Cast", ["row"], ["v"], "cast", to=TensorProto.FLOAT))
    assert [each.name for each in restore(stripped, answer).graph.initializer] == ["one"]


def test_an_answer_with_another_interface_is_refused() -> None:
    stripped = strip(model())
    answer = answer_to(stripped.model)
    answer.graph.output[0].name = "z"
    with pytest.raises(SkeletonError, match="onnxsim changed the model's outputs"):
        restore(stripped, answer)


def test_an_answer_with_another_key_table_is_refused() -> None:
    stripped = strip(model())
    answer = answer_to(stripped.model)
    answer.graph.node[0].attribute[0].t.CopyFrom(numpy_helper.from_array(np.array([5])))
    with pytest.raises(SkeletonError, match="onnxsim changed the key table of node map"):
        restore(stripped, answer)


def test_nodes_without_names_of_their_own_cannot_be_found_again() -> None:
    with pytest.raises(SkeletonError, match="the nodes of the model do not have names of their own"):
        strip(model(name="add"))


def test_control_flow_is_not_sent() -> None:
    branch = helper.make_graph([], "b", [], [])
    flow = model()
    flow.graph.node.append(helper.make_node("If", ["c"], [], "if", then_branch=branch, else_branch=branch))
    with pytest.raises(SkeletonError, match="the model has control flow"):
        strip(flow)


def test_the_limit_of_a_large_tensor_is_in_bytes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(skeleton, "_STRIPPED_BYTES", 3)
    assert strip(model()).inputs == {"large", "one"}
