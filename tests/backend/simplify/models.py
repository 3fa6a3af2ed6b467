"""Small models that onnxsim can change."""

from __future__ import annotations

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from hugectr2onnx.backend.onnx.artifact import Artifact, Blob, external_tensor

INT64_MIN, INT64_MAX = -(2**63), 2**63 - 1
KEY_COUNT, VECTOR = 20_000, 20


def model_of(
    nodes: list[onnx.NodeProto],
    inputs: dict[str, tuple[int, list[object]]],
    outputs: dict[str, tuple[int, list[object]]],
    initializers: list[onnx.TensorProto],
    opset: int = 17,
) -> onnx.ModelProto:
    infos = [[helper.make_tensor_value_info(n, t, s) for n, (t, s) in side.items()] for side in (inputs, outputs)]
    graph = helper.make_graph(nodes, "wdl", *infos, initializers)
    imports = [helper.make_opsetid("", opset), helper.make_opsetid("ai.onnx.ml", 4)]
    model = helper.make_model(graph, opset_imports=imports, ir_version=8, producer_name="hugectr2onnx")
    helper.set_model_props(model, {"hugectr2onnx.version": "1.0"})
    return model


def small(name: str, values: object, dtype: type = np.float32) -> onnx.TensorProto:
    return numpy_helper.from_array(np.array(values, dtype), name)


def node(op_type: str, inputs: list[str], output: str, **attributes: object) -> onnx.NodeProto:
    text = f"makes {output}"
    made = helper.make_node(op_type, inputs, [output], name=f"{output}.node", doc_string=text, **attributes)
    made.metadata_props.add(key="hugectr.layer", value=f"layer of {output}")
    return made


def encoder(keys_from: str, output: str, keys: np.ndarray) -> onnx.NodeProto:
    return node(
        "LabelEncoder",
        [keys_from],
        output,
        domain="ai.onnx.ml",
        keys_tensor=numpy_helper.from_array(keys, "keys"),
        values_tensor=numpy_helper.from_array(np.arange(len(keys)), "values"),
        default_tensor=numpy_helper.from_array(np.array([len(keys)]), "default"),
    )


def keys_of_the_table() -> np.ndarray:
    inner = np.unique(np.random.default_rng(1).integers(INT64_MIN + 1, INT64_MAX, KEY_COUNT - 2))
    return np.array([INT64_MIN, INT64_MAX, *inner], np.int64)


def wide_and_deep() -> Artifact:
    """keys -> rows -> summed vectors -> Relu(x @ w + b), then an Identity and an addition of 0 to take away."""
    keys = keys_of_the_table()
    table = np.random.default_rng(2).standard_normal((len(keys), VECTOR)).astype(np.float32)
    blob = Blob((table, np.zeros((1, VECTOR), np.float32)))
    weight = np.random.default_rng(3).standard_normal((VECTOR, 1000)).astype(np.float32)
    nodes = [
        encoder("keys", "rows", keys),
        node("Gather", ["table", "rows"], "vectors"),
        node("ReduceSum", ["vectors", "axes"], "sum", keepdims=0),
        node("MatMul", ["sum", "weight"], "product"),
        node("Add", ["product", "bias"], "fc1"),
        node("Relu", ["fc1"], "relu1"),
        node("Identity", ["relu1"], "dropout1"),
        node("Add", ["dropout1", "zero"], "logit"),
        node("Sigmoid", ["logit"], "label"),
    ]
    initializers = [
        external_tensor("table", blob),
        numpy_helper.from_array(weight, "weight"),
        small("axes", [1], np.int64),
        small("bias", np.linspace(-1, 1, 1000)),
        small("zero", [0]),
    ]
    interface = {"keys": (TensorProto.INT64, ["N", 3])}, {"label": (TensorProto.FLOAT, ["N", 1000])}
    return Artifact(model_of(nodes, *interface, initializers), {"table": blob})


FEED = {"keys": np.array([[INT64_MIN, INT64_MAX, 0], [-1, 5, INT64_MIN + 1]], np.int64)}


def reshaped() -> Artifact:
    """A sum over an axis of one and a reshape, in place of which onnxsim puts a node and a constant of its own."""
    nodes = [node("ReduceSum", ["x", "axes"], "sum", keepdims=0), node("Reshape", ["sum", "shape"], "y")]
    interface = {"x": (TensorProto.FLOAT, ["N", 4, 1, 8])}, {"y": (TensorProto.FLOAT, ["N", 32])}
    initializers = [small("axes", [2], np.int64), small("shape", [-1, 32], np.int64)]
    return Artifact(model_of(nodes, *interface, initializers), {})
