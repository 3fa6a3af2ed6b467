"""Find out, by numbers that tell, whether this machine's processor adds products of bytes without cutting their sums."""

from __future__ import annotations

from functools import cache

import numpy as np
import onnx
from onnx import helper, numpy_helper

from hugectr2onnx.backend.onnx.artifact import Artifact
from hugectr2onnx.backend.runtime import sessions
from hugectr2onnx.ir.ops.quantized import HIGHEST

HIGHEST_WEIGHT = 127
_LENGTH = 64


@cache
def saturates() -> bool:
    """Tell whether onnxruntime gives wrong sums for the largest bytes here: AVX2 and SSE without VNNI add pairs in 16 bits."""
    weight = np.full((_LENGTH, 16), HIGHEST_WEIGHT, np.int8)
    q = np.full((1, _LENGTH), HIGHEST, np.uint8)
    found = multiplied(q, weight)
    return bool((found != q.astype(np.int64) @ weight.astype(np.int64)).any())


def multiplied(q: np.ndarray, weight: np.ndarray) -> np.ndarray:
    """Tell what onnxruntime makes of unsigned bytes [N, k] times signed bytes [k, n] on this machine."""
    body = helper.make_graph(
        [helper.make_node("MatMulInteger", ["q", "w"], ["y"])],
        "products of bytes",
        [helper.make_tensor_value_info("q", onnx.TensorProto.UINT8, ["N", weight.shape[0]])],
        [helper.make_tensor_value_info("y", onnx.TensorProto.INT32, ["N", weight.shape[1]])],
        [numpy_helper.from_array(weight, "w")],
    )
    model = helper.make_model(body, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    return sessions.run(sessions.session(Artifact(model, {})), {"q": q})["y"]
