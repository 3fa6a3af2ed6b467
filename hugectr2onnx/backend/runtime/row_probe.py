"""Rows that tell: what a model makes of one row at a time, tried on the rows that no generated feed holds.

Feeds reach an operand through the layers before it, so that a row of zeros, one whose largest number is negative, the
smallest numbers of float32, or NaN may never come by. The nodes that quantize rows are therefore run alone, too.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import numpy as np
import onnx
from onnx import helper

from hugectr2onnx.backend.onnx.artifact import Artifact
from hugectr2onnx.backend.runtime import sessions
from hugectr2onnx.ir.graph import Node
from hugectr2onnx.ir.ops.quantized import SMALLEST_SCALE, RowQuantize
from hugectr2onnx.ir.types import Array


def answers(model: onnx.ModelProto, node: Node, x: str, outputs: tuple[str, ...]) -> tuple[Array, Mapping[str, Array]]:
    """Return rows for the tensor `x`, and what the nodes between it and `outputs` make of them."""
    assert isinstance(node.op, RowQuantize)
    inner = node.inputs[0].type.concrete(1)
    rows = np.stack([*_rows(node.op, inner[-1])])
    middle = inner[1:-1]
    shape = (len(rows), *middle, rows.shape[1])
    tried = np.broadcast_to(rows.reshape(len(rows), *(1 for _ in middle), -1), shape).astype(np.float32)
    return tried, sessions.run(sessions.session(_part(model, x, shape, outputs)), {x: tried})


def _rows(op: RowQuantize, k: int) -> Iterator[Array]:
    """Rows of k numbers: all are finite but the last two."""
    rising = np.arange(k, dtype=np.float64)
    yield np.zeros(k)
    for largest in (-1.0, 1e-40, -60 * SMALLEST_SCALE, 1e3 * SMALLEST_SCALE, -1e30, 3e38):
        row = largest * (rising + 1) / k
        yield np.abs(row) if op.nonnegative else row
    for bad in (np.nan, np.inf):
        yield np.where(rising == k // 2, bad, 1.0)


def _part(model: onnx.ModelProto, x: str, shape: tuple[int, ...], outputs: tuple[str, ...]) -> Artifact:
    """Return the nodes between a tensor and others as a model."""
    needed, nodes = set(outputs), list[onnx.NodeProto]()
    for node in reversed(model.graph.node):
        if needed & set(node.output) and x not in node.output:
            nodes.append(node)
            needed |= set(node.input)
    body = helper.make_graph(
        nodes[::-1],
        "rows that tell",
        [helper.make_tensor_value_info(x, onnx.TensorProto.FLOAT, shape)],
        [helper.make_empty_tensor_value_info(name) for name in outputs],
        [each for each in model.graph.initializer if each.name in needed],
    )
    return Artifact(helper.make_model(body, opset_imports=model.opset_import, ir_version=model.ir_version), {})
