"""Attention as ONNX's own operator, of opset 23: onnxruntime's kernel reads the heads where they lie.

Nothing is transposed, and the scores of a head are scaled, shifted by the mask and made weights while they are in the cache.
It is for level 3: runtimes that know opset 23 are few. Where the installed onnx or onnxruntime is older than that, the pass
does nothing, and `expand_attention` gives level 2's form.
"""

from __future__ import annotations

import re
from importlib import metadata

import numpy as np

from hugectr2onnx.ir.graph import Graph, Value
from hugectr2onnx.ir.ops.attention import Attention, FusedAttention
from hugectr2onnx.ir.ops.shape import Reshape
from hugectr2onnx.passes.pattern import P, Var
from hugectr2onnx.passes.recommender.expand_attention import bias_of
from hugectr2onnx.passes.recommender.find_attention import HEADS_FIRST, attention_of
from hugectr2onnx.passes.rewriter import Fires, Rule, apply, rule


@rule(P(Reshape, P(HEADS_FIRST, Var("weights") @ Var("values"))))
def find_wide_heads(weights: Value, values: Value, root: Value) -> Value | None:
    """reshape(transpose(softmax(q @ k^T / sqrt(d), mask) @ v))  ->  attention(q, k, v, mask), of any width"""
    return attention_of(weights, values, root)


@rule(P(Attention))
def fuse_heads(root: Value) -> Value | None:
    """attention(q, k, v, mask)  ->  fused_attention(q, k, v, bias)"""
    op, (q, k, v, *mask) = root.op, root.inputs
    assert isinstance(op, Attention)
    if not isinstance(q.shape[1], int) or not isinstance(k.shape[1], int):
        return None
    return FusedAttention(op.heads)(q, k, v, *(_bias(each, q.shape[1]) for each in mask))


def _bias(mask: Value, steps: int) -> Value:
    """Return the bias of the mask, a row for each query."""
    bias = bias_of(mask)
    if bias.shape[2] == steps:
        return bias
    return bias + mask.graph.const(np.zeros((1, 1, steps, 1), np.float32))


MIN_VERSIONS = {"onnx": (1, 18), "onnxruntime": (1, 23)}
RULES: tuple[Rule, ...] = (find_wide_heads, fuse_heads)


def fuse_attention(graph: Graph) -> Fires:
    """%p = masked_softmax(mat_mul(%q4, %k4) / sqrt(d), %m); ... mat_mul(%p, %v4) ...  ->  fused_attention(%q, %k, %v, %bias)"""
    return apply(graph, RULES if is_available() else ())


def is_available() -> bool:
    """Tell whether the installed packages know Attention of opset 23; one of another name counts as the newest."""
    return all(_version(package, least) >= least for package, least in MIN_VERSIONS.items())


def _version(package: str, default: tuple[int, ...]) -> tuple[int, ...]:
    try:
        return tuple(int(number) for number in re.findall(r"\d+", metadata.version(package))[:2])
    except metadata.PackageNotFoundError:  # such as onnxruntime-gpu
        return default
