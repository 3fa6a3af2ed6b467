"""Batch normalisation by running statistics is a scale and a shift, which a neighbouring linear takes in.

With s = gamma / sqrt(var + eps):   norm(y) = y * s + (beta - mean * s).
"""

from __future__ import annotations

import numpy as np

from hugectr2onnx.ir.graph import Graph, Value
from hugectr2onnx.ir.ops.linear import Linear
from hugectr2onnx.ir.ops.normalization import BatchNormalization
from hugectr2onnx.ir.types import Array
from hugectr2onnx.passes.pattern import P, Var
from hugectr2onnx.passes.rewriter import Fires, apply, rule

X, W, B = Var("x"), Var("w", const=True), Var("b", const=True)
PARAMETERS = tuple(Var(name, const=True) for name in ("gamma", "beta", "mean", "var"))
MAX_MEAN_DEVIATIONS = 64.0
"""Standard deviations from 0 beyond which `x * s` cancels against `mean * s` too much to be moved before the product."""


@rule(P(BatchNormalization, P(Linear, X, W, B, name="linear"), *PARAMETERS))
def fold_norm_after_linear(x: Value, w: Value, b: Value, linear: Value, root: Value) -> Value | None:
    """norm(linear(x, w, b))  ->  linear(x, w * s, (b - mean) * s + beta)"""
    if linear.op != Linear():
        return None
    scale, shift = _scale_and_shift(root)
    return _linear(Linear(), x, _of(w) * scale, _of(b) * scale + shift)


@rule(P(BatchNormalization, X @ W, *PARAMETERS))
def fold_norm_after_product(x: Value, w: Value, root: Value) -> Value | None:
    """norm(mat_mul(x, w))  ->  linear(x, w * s, beta - mean * s)"""
    scale, shift = _scale_and_shift(root)
    return _linear(Linear(), x, _of(w) * scale, shift)


@rule(P(Linear, P(BatchNormalization, X, *PARAMETERS, name="norm"), W, B))
def fold_norm_before_linear(x: Value, w: Value, b: Value, norm: Value, root: Value) -> Value | None:
    """linear(norm(x), w, b)  ->  linear(x, s * w, b + (beta - mean * s) @ w)"""
    assert isinstance(norm.op, BatchNormalization)
    mean, var = _of(norm.inputs[3]), _of(norm.inputs[4])
    if np.any(np.abs(mean) > MAX_MEAN_DEVIATIONS * np.sqrt(var + norm.op.epsilon)):
        return None
    scale, shift = _scale_and_shift(norm)
    return _linear(root.op, x, scale[:, None] * _of(w), _of(b) + shift @ _of(w))


def _scale_and_shift(norm: Value) -> tuple[Array, Array]:
    assert isinstance(norm.op, BatchNormalization)
    gamma, beta, mean, var = (_of(operand) for operand in norm.inputs[1:])
    scale = gamma / np.sqrt(var + norm.op.epsilon)
    return scale, beta - mean * scale


def _linear(op: object, x: Value, weight: Array, bias: Array) -> Value | None:
    """Return the linear with weights rounded once, unless rounding overflows or there is nothing finite to fold."""
    assert isinstance(op, Linear)
    w, b = weight.astype(np.float32), bias.astype(np.float32)
    if not (np.isfinite(w).all() and np.isfinite(b).all()):
        return None
    return op(x, x.graph.const(w), x.graph.const(b))


def _of(value: Value) -> Array:
    assert value.const is not None
    return value.const.astype(np.float64)


def fold_batch_norm(graph: Graph) -> Fires:
    """%h = linear(%x, %w, %b); %y = batch_normalization(%h, ...)  ->  %y = linear(%x, %w', %b')"""
    with np.errstate(all="ignore"):  # what is not finite declines
        return apply(graph, [fold_norm_after_linear, fold_norm_after_product, fold_norm_before_linear])
