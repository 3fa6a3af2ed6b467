"""A linear takes over the activation that follows it."""

from __future__ import annotations

from dataclasses import replace

from hugectr2onnx.ir.graph import Graph, Value
from hugectr2onnx.ir.ops.elementwise import Elu, Relu, Sigmoid
from hugectr2onnx.ir.ops.linear import Linear
from hugectr2onnx.passes.pattern import P
from hugectr2onnx.passes.rewriter import Fires, Rule, apply, rule

Y = P(Linear, name="linear")


def _fuse(linear: Value, root: Value) -> Value | None:
    op = linear.op
    assert isinstance(op, Linear)
    if op.activation is not None or any(use.node is root.graph.sink for use in root.uses):
        return None
    return replace(op, activation=root.op)(*linear.inputs)


@rule(P(Relu, Y))
def fuse_relu(linear: Value, root: Value) -> Value | None:
    """relu(linear(x, w, b))  ->  linear(x, w, b) {activation=relu}"""
    return _fuse(linear, root)


@rule(P(Sigmoid, Y))
def fuse_sigmoid(linear: Value, root: Value) -> Value | None:
    """sigmoid(linear(x, w, b))  ->  linear(x, w, b) {activation=sigmoid}, predictions apart: their logits stay in sight"""
    return _fuse(linear, root)


@rule(P(Elu, Y))
def fuse_elu(linear: Value, root: Value) -> Value | None:
    """elu(linear(x, w, b))  ->  linear(x, w, b) {activation=elu}"""
    return _fuse(linear, root)


RULES: tuple[Rule, ...] = (fuse_relu, fuse_sigmoid, fuse_elu)


def fuse_activation(graph: Graph) -> Fires:
    """%a = linear(%x, %w, %b); %y = relu(%a)  ->  %y = linear(%x, %w, %b) {activation=relu}"""
    return apply(graph, RULES)
