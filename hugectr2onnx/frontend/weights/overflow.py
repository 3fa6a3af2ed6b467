"""Weights so large that float32 overflows: nothing can be proven of such a model, and the error should say why."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from hugectr2onnx.errors import Setting, WeightsError
from hugectr2onnx.ir.graph import Graph
from hugectr2onnx.tables import paging

OVERFLOWING = 1e18
"""The product of two such numbers is near the end of float32, 3.4e38."""


def overflow_error(graph: Graph) -> WeightsError | None:
    """Return the error of a graph that no pass has touched and whose weights are beyond that; reads every table once."""
    for name, largest in _largest_constants(graph):
        if largest >= OVERFLOWING:
            return WeightsError(
                f"the weights {name} hold numbers up to {largest:.3g}, and sums and products of such numbers overflow float32: "
                "HugeCTR's own predictions are infinite, NaN or wrong there; has the training diverged? Without the "
                "comparison, with ",
                Setting("check", False),
                ", the model is written as it is",
            )
    return None


def _largest_constants(graph: Graph) -> Iterator[tuple[str, float]]:
    """(name, largest absolute value) of the weights of each layer and of each table."""
    for node in graph:
        for value in node.results:
            array = value.const
            if array is not None and array.dtype.kind == "f" and array.ndim and array.size:
                yield node.name, max(float(np.abs(chunk).max()) for chunk in paging.chunks(array))
