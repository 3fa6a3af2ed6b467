"""Weights and parameters so large that float32 overflows: nothing can be proven of such a model, and the error says why."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import fields

import numpy as np

from hugectr2onnx.errors import Setting, WeightsError
from hugectr2onnx.ir.graph import Graph
from hugectr2onnx.tables import paging

OVERFLOWING = 1e18
"""The product of two such numbers is near the end of float32, 3.4e38."""


def overflow_error(graph: Graph) -> WeightsError | None:
    """Return the error of a graph that no pass has touched and whose numbers are beyond that; reads every table once."""
    for name, largest in (*_largest_parameters(graph), *_largest_constants(graph)):
        if largest >= OVERFLOWING:
            return WeightsError(
                f"{name} {largest:.3g}, and sums and products of such numbers overflow float32: "
                "HugeCTR's own predictions are infinite, NaN or wrong there; has the training diverged? Without the "
                "comparison, with ",
                Setting("check", False),
                ", the model is written as it is",
            )
    return None


def _largest_parameters(graph: Graph) -> Iterator[tuple[str, float]]:
    """Yield (words, absolute value) of the parameters of layers that are single numbers, such as the alpha of a Dice."""
    for node in graph:
        for field in fields(node.op):
            value = getattr(node.op, field.name)
            if isinstance(value, float):
                yield f"the parameter {field.name} of {', '.join(node.sources) or node.name} is", abs(value)


def _largest_constants(graph: Graph) -> Iterator[tuple[str, float]]:
    """Yield (words, largest absolute value) of the weights of each layer and of each table."""
    for node in graph:
        for value in node.results:
            array = value.const
            if array is not None and array.dtype.kind == "f" and array.ndim and array.size:
                yield (
                    f"the weights {node.name} hold numbers up to",
                    max(float(np.abs(chunk).max()) for chunk in paging.chunks(array)),
                )
