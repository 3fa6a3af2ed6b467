"""Reshapes sink below what works element by element, to where they meet others and cancel.

Where one operand is a matrix inside, the operation takes place on the matrix: what follows (normalizations, linears) wants
matrices.
"""

from __future__ import annotations

from hugectr2onnx.ir.graph import Graph, Value
from hugectr2onnx.ir.ops.elementwise import Add, Mul, Sub
from hugectr2onnx.ir.ops.shape import Reshape
from hugectr2onnx.ir.pattern import P
from hugectr2onnx.ir.types import elements
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


@rule(P(Add, A, B))
def sink_below_add(a: Value, b: Value, root: Value) -> Value | None:
    """reshape(a) + reshape(b)  ->  reshape(a + reshape(b)), a being a matrix"""
    return _sink(a, b, root)


@rule(P(Sub, A, B))
def sink_below_sub(a: Value, b: Value, root: Value) -> Value | None:
    """reshape(a) - reshape(b)  ->  reshape(a - reshape(b)), a or b being a matrix"""
    return _sink(a, b, root)


@rule(P(Mul, A, B))
def sink_below_mul(a: Value, b: Value, root: Value) -> Value | None:
    """reshape(a) * reshape(b)  ->  reshape(a * reshape(b)), a being a matrix"""
    return _sink(a, b, root)


RULES: tuple[Rule, ...] = (sink_below_add, sink_below_sub, sink_below_mul)


def sink_reshapes(graph: Graph) -> Fires:
    """%p = reshape(%a); %q = reshape(%b); %y = add(%p, %q)  ->  %y = reshape(add(%a, reshape(%b)))"""
    return apply(graph, RULES)
