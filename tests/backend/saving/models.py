"""Models that are quick to build and to save, and say which one they are."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from onnx import TensorProto, helper

from hugectr2onnx.backend.onnx.artifact import Artifact, Blob, external_tensor

WIDTH = 300


def model_of(value: float, rows: int = 2) -> Artifact:
    """answer = table[row], every number of which is `value`; two tables of 1,200 bytes a row, of which one counts."""
    tables = {name: Blob((np.full((rows, WIDTH), value, np.float32),)) for name in ("table", "other")}
    graph = helper.make_graph(
        [
            helper.make_node("Gather", ["table", "row"], ["one"], name="one"),
            helper.make_node("Gather", ["other", "row"], ["two"], name="two"),
            helper.make_node("Min", ["one", "two"], ["answer"], name="answer"),
        ],
        "g",
        [helper.make_tensor_value_info("row", TensorProto.INT64, ["N"])],
        [helper.make_tensor_value_info("answer", TensorProto.FLOAT, ["N", WIDTH])],
        [external_tensor(name, table) for name, table in tables.items()],
    )
    opset = helper.make_opsetid("", 17)
    model = helper.make_model(graph, opset_imports=[opset], ir_version=8, producer_name="hugectr2onnx")
    return Artifact(model, tables)


def run_file(path: Path) -> float:
    """The one number that a model answers with; fails for a mixture of two models."""
    from hugectr2onnx.backend.runtime.sessions import open_session

    answer = open_session(path).run(None, {"row": np.arange(2)})[0]
    assert answer.min() == answer.max()
    return float(answer[0, 0])
