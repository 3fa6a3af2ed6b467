"""Models of one node: a part of the floor, alone."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from hugectr2onnx.backend.onnx.artifact import Artifact
from hugectr2onnx.backend.runtime.sessions import session
from hugectr2onnx.ir.types import Array
from hugectr2onnx.latency.bound_calls import BoundCalls, Settings
from hugectr2onnx.latency.floor import CALL, MatrixProduct, Part
from hugectr2onnx.latency.floor_parts import Probe

Calls = list[Callable[[], None]]
FLOOR_OPSET = 17


def floor_calls(
    probe: Probe, parts: Mapping[Part, int], indices: Sequence[Mapping[str, Array]], settings: Settings
) -> dict[str, Calls]:
    """Return the calls of every part by its text, and of a model that does nothing under CALL."""
    calls: dict[str, Calls] = {}
    for part in parts:
        if isinstance(part, MatrixProduct):
            calls[str(part)] = _product(part, settings)
        else:
            wanted = [each[part.indices] for each in indices]
            calls[str(part)] = _gather(probe.table(part.table), wanted, settings)
    return {CALL: _nothing(settings), **calls}


def _nothing(settings: Settings) -> Calls:
    feed = {"a": np.zeros((1, 1), np.float32)}
    opened = _open([helper.make_node("Identity", ["a"], ["y"])], feed, {}, settings)
    return BoundCalls(opened, [feed]).calls()


def _product(part: MatrixProduct, settings: Settings) -> Calls:
    generator = np.random.default_rng(0)
    left, right = (generator.standard_normal(shape, np.float32) for shape in (part.left, part.right))
    node = _product_node(part)
    feed = {"a": left} if part.constant else {"a": left, "b": right}
    opened = _open([node], feed, {"b": right} if part.constant else {}, settings)
    return BoundCalls(opened, [feed]).calls()


def _product_node(part: MatrixProduct) -> onnx.NodeProto:
    if not part.transpose_left and not part.transpose_right:
        return helper.make_node("MatMul", ["a", "b"], ["y"])
    matrices = len(part.left) == len(part.right) == 2
    name, domain = ("Gemm", "") if matrices else ("FusedMatMul", "com.microsoft")
    node = helper.make_node(name, ["a", "b"], ["y"], domain=domain)
    flips = {"transA": part.transpose_left, "transB": part.transpose_right}
    node.attribute.extend(helper.make_attribute(key, int(flip)) for key, flip in flips.items())
    return node


def _gather(table: Array, indices: Sequence[Array], settings: Settings) -> Calls:
    node = helper.make_node("Gather", ["table", "rows"], ["y"], axis=0)
    opened = _open([node], {"table": table, "rows": indices[0]}, {}, settings)
    return BoundCalls(opened, [{"table": table, "rows": rows} for rows in indices]).calls()


def _open(nodes: list[Any], inputs: Mapping[str, Array], weights: Mapping[str, Array], settings: Settings) -> Any:
    entries = [
        helper.make_tensor_value_info(
            name, helper.np_dtype_to_tensor_dtype(array.dtype), [f"{name}_{axis}" for axis in range(array.ndim)]
        )
        for name, array in inputs.items()
    ]
    outputs = [helper.make_tensor_value_info("y", TensorProto.FLOAT, None)]
    constants = [numpy_helper.from_array(array, name) for name, array in weights.items()]
    graph = helper.make_graph(nodes, "part", entries, outputs, constants)
    imports = [helper.make_opsetid("", FLOOR_OPSET), helper.make_opsetid("com.microsoft", 1)]
    return session(
        Artifact(helper.make_model(graph, opset_imports=imports, ir_version=8), {}), options=settings.options()
    )
