"""Explain differences by rounding to half: HugeCTR in mixed precision rounds weights and activations (layers 2.4)."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass

import numpy as np

from hugectr2onnx.ir.evaluator import evaluate_values
from hugectr2onnx.ir.graph import Graph, Value
from hugectr2onnx.ir.ops.elementwise import Relu
from hugectr2onnx.ir.ops.lookup import Lookup
from hugectr2onnx.ir.ops.structural import Const, Input
from hugectr2onnx.ir.types import Array

_STATISTICS = ("mean", "var")
HALF_MARGIN = 4
"""Sums in another order round to other halves: a prediction may be so many times as far off as the reference in half."""


@dataclass(frozen=True)
class HalfPrecision:
    """The largest difference that was found, and the largest that rounding to half makes; whether it explains the first."""

    found: float
    of_half: float
    explains: bool


def half_precision(
    graph: Graph,
    layers: Collection[str],
    feeds: Mapping[str, Array],
    reference: Mapping[str, Array],
    predictions: Mapping[str, Array],
    atol: float,
    rtol: float,
) -> HalfPrecision:
    """Compare predictions with the reference as it is and with halves wherever HugeCTR stores one."""
    rounded = evaluate_in_half(graph, layers, feeds)
    found, of_half, explains = 0.0, 0.0, True
    for name, prediction in predictions.items():
        exact = reference[name]
        error = np.abs(prediction.reshape(exact.shape) - exact)
        noise = float(np.abs(rounded[name] - exact).max(initial=0.0))
        found, of_half = max(found, float(error.max(initial=0.0))), max(of_half, noise)
        allowed = atol + rtol * np.abs(exact) + HALF_MARGIN * noise
        explains = explains and bool(np.isfinite(error).all() and (error <= allowed).all())
    return HalfPrecision(found, of_half, explains)


def evaluate_in_half(
    graph: Graph, layers: Collection[str], feeds: Mapping[str, Array], values: Mapping[str, Value] | None = None
) -> dict[str, Array]:
    """Return the outputs or other values, with halves for features, weights, looked-up vectors and the tops of layers.

    Sums stay float32.
    """

    def adjust(value: Value, array: Array) -> Array:
        if not _is_half(value, layers):
            return array
        with np.errstate(over="ignore"):
            return array.astype(np.float16).astype(array.dtype)

    names = graph.outputs if values is None else values
    arrays = evaluate_values(graph, list(names.values()), feeds, precision=np.float32, adjust=adjust)
    return {name: array.astype(np.float64) for name, array in zip(names, arrays, strict=True)}


def _is_half(value: Value, layers: Collection[str]) -> bool:
    """Return weights stay float32 masters in the files; statistics of BatchNorm are float32 in HugeCTR too."""
    name = value.node.name
    if isinstance(value.op, Const):
        layer, _, weight = name.rpartition(".")
        return layer in layers and weight not in _STATISTICS
    return isinstance(value.op, Input | Lookup | Relu) or name in layers
