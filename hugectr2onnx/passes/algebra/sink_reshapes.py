"""Move Reshapes behind element-wise operations, where they meet other Reshapes and cancel.

If one operand was reshaped from a matrix, the operation is done on the matrix, because the normalizations and linears that
follow take matrices.
"""

from __future__ import annotations

from hugectr2onnx.ir.graph import Graph, Value
from hugectr2onnx.ir.ops.reduce import ReduceMean, Softmax
from hugectr2onnx.ir.ops.shape import Reshape
from hugectr2onnx.ir.types import elements
from hugectr2onnx.passes.pattern import P, Var
from hugectr2onnx.passes.rewriter import Fires, Rule, apply, rule

A = P(Reshape, name="a", shared=True)
B = P(Reshape, name="b", shared=True)


def _sink(a: Value, b: Value, root: Value) -> Value | None:
    if not a.type == b.type == root.type or root.type.rank < 3:
        return None
    rows = (elements(root.shape[:-1]), root.shape[-1])
    if rows not in (a.inputs[0].shape, b.inputs[0].shape):
        return None
    return Reshape(root.shape)(root.op(Reshape(rows)(a.inputs[0]), Reshape(rows)(b.inputs[0])))


@rule(A + B)
def sink_below_add(a: Value, b: Value, root: Value) -> Value | None:
    """reshape(a) + reshape(b)  ->  reshape(a + reshape(b)), a being a matrix"""
    return _sink(a, b, root)


@rule(A - B)
def sink_below_sub(a: Value, b: Value, root: Value) -> Value | None:
    """reshape(a) - reshape(b)  ->  reshape(a - reshape(b)), a or b being a matrix"""
    return _sink(a, b, root)


@rule(A * B)
def sink_below_mul(a: Value, b: Value, root: Value) -> Value | None:
    """reshape(a) * reshape(b)  ->  reshape(a * reshape(b)), a being a matrix"""
    return _sink(a, b, root)


@rule(P(Softmax, P(Reshape, Var("x"))))
def sink_below_softmax(x: Value, root: Value) -> Value | None:
    """reshape(softmax(reshape(x)))  ->  reshape(reshape(softmax(x))), where the first reshape keeps the last axis"""
    meets = all(isinstance(use.node.op, Reshape) for use in root.uses)
    return Reshape(root.shape)(Softmax()(x)) if meets and x.shape[-1:] == root.shape[-1:] else None


@rule(P(Reshape, P(ReduceMean, Var("x"), name="mean")))
def drop_averaged_axis(x: Value, mean: Value, root: Value) -> Value | None:
    """reshape(reduce_mean(x))  ->  reduce_mean(x) {keepdims=False}, where the reshape only drops the axis"""
    op = mean.op
    assert isinstance(op, ReduceMean)
    without = ReduceMean(op.axis, keepdims=False)
    return without(x) if op.keepdims and without.infer(x.type) == root.type else None


RULES: tuple[Rule, ...] = (sink_below_add, sink_below_sub, sink_below_mul, sink_below_softmax, drop_averaged_axis)


def sink_reshapes(graph: Graph) -> Fires:
    """%p = reshape(%a); %q = reshape(%b); %y = add(%p, %q)  ->  %y = reshape(add(%a, reshape(%b)))"""
    return apply(graph, RULES)
