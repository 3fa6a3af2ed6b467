"""Cross networks in fewer passes over the features.

DCN's (layers 3.4), `x_{l+1} = x_0 (x_l . w_l) + x_l + b_l`, has a closed form. By induction `x_l = a_l x_0 + c_l` with one
number a_l per sample and a constant vector c_l = b_0 + ... + b_{l-1}:

    a_{l+1} = a_l (1 + x_0 . w_l) + c_l . w_l          a_0 = 1

so one product gives every `1 + x_0 . w_l`, the recurrence runs on numbers, and the features are touched once more.
DCN v2's, `x_{l+1} = x_0 (x_l U V + b) + x_l`, has none; its first layer is `x_0 (x_0 U V + (b + 1))`.
"""

from __future__ import annotations

import numpy as np

from hugectr2onnx.ir.graph import Graph, Value
from hugectr2onnx.ir.ops.cross import CrossNetwork, LowRankCrossNetwork
from hugectr2onnx.ir.ops.split import Split
from hugectr2onnx.ir.types import Array
from hugectr2onnx.passes.analysis.products import exact, multiply, rounded
from hugectr2onnx.passes.pattern import P
from hugectr2onnx.passes.rewriter import Fires, apply, rule


@rule(P(CrossNetwork))
def expand_cross_network(root: Value) -> Value | None:
    """cross_network(x, w0, b0, ...)  ->  a * x + c, a from the columns of linear(x, [w0 w1 ...], 1)"""
    x, *weights = root.inputs
    if not weights:
        return x
    if any(weight.const is None for weight in weights):
        return None
    columns = np.hstack([exact(w) for w in weights[::2]])
    shift, constants = _constants(columns, [exact(b) for b in weights[1::2]])
    if rounded(shift) is None or rounded(constants) is None:
        return None
    factors = multiply(x, columns, np.ones(columns.shape[1]))
    if factors is None:
        return None
    crossed = _recur(factors, constants) * x
    return crossed + x.graph.const(shift.astype(np.float32)) if shift.any() else crossed


def _constants(columns: Array, biases: list[Array]) -> tuple[Array, Array]:
    """c_L, and every c_l . w_l"""
    before = np.cumsum([np.zeros_like(biases[0]), *biases], axis=0)
    return before[-1], np.einsum("ln,nl->l", before[:-1], columns)


def _recur(factors: Value, constants: Array) -> Value:
    """a_L as [batch, 1]"""
    layers = len(constants)
    scale, *others = Split(1, (1,) * layers)(factors).node.results if layers > 1 else (factors,)
    for factor, constant in zip(others, constants[1:], strict=True):
        scale = scale * factor
        # onnxruntime takes four times as long to add a number of another rank.
        scale = scale + scale.graph.const(np.full((1, 1), constant, np.float32)) if constant else scale
    return scale


@rule(P(LowRankCrossNetwork))
def expand_low_rank_cross_network(root: Value) -> Value | None:
    """low_rank_cross_network(x, u0, v0, b0, u1, ...)  ->  y = x * linear(x @ u0, v0, b0 + 1); x * linear(y @ u1, v1, b1) + y"""
    x, *weights = root.inputs
    crossed = x
    if any(weight.const is None for weight in weights):
        return None
    for layer in range(0, len(weights), 3):
        u, v, b = (exact(weight) for weight in weights[layer : layer + 3])
        projected = multiply(crossed, u)
        first = layer == 0
        gate = None if projected is None else multiply(projected, v, b + first)
        if gate is None:
            return None
        crossed = x * gate if first else x * gate + crossed
    return crossed


def expand_cross_networks(graph: Graph) -> Fires:
    """%y = cross_network(%x, %w0, %b0, ...)  ->  %f = linear(%x, [%w0 %w1 ...], 1); %a = ...; %y = add(mul(%a, %x), %c)"""
    return apply(graph, [expand_cross_network, expand_low_rank_cross_network])
