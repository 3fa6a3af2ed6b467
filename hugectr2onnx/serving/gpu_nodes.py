"""The nodes of a model that onnxruntime's CUDA provider leaves to the CPU."""

from __future__ import annotations

import os
from collections import Counter

from hugectr2onnx.backend.onnx.onnx_file import read_model

WITHOUT_CUDA = frozenset(
    {"LabelEncoder", "BitShift", "BitwiseAnd", "BitwiseNot", "BitwiseOr", "BitwiseXor", "LpNormalization"}
)
"""Of the operators that this compiler emits, those without a kernel in the provider's list (OperatorKernels.md)."""

STANDARD = ("", "ai.onnx", "ai.onnx.ml")


def nodes_on_the_cpu(path: str | os.PathLike[str]) -> dict[str, int]:
    """Tell how many nodes of each such operator a model has; operators of com.microsoft are not looked at."""
    nodes = [node for node in read_model(path).graph.node if node.domain in STANDARD]
    return dict(Counter(node.op_type for node in nodes if node.op_type in WITHOUT_CUDA))
