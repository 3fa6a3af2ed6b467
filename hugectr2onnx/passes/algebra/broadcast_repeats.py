"""HugeCTR's Scale repeats; what then meets another tensor element by element can broadcast instead.

    repeat(a[N, m], axis=1, f) * b[N, m f] = reshape(reshape(a)[N, m, 1] * reshape(b)[N, m, f])

Rows are another matter: copying whole rows is faster than broadcasting over them, unless a row is one number. Repeats
sink below what treats all repetitions alike, so that it is computed once.
"""

from __future__ import annotations

from hugectr2onnx.ir.graph import Graph, Value
from hugectr2onnx.ir.ops.linear import Linear
from hugectr2onnx.ir.ops.shape import Repeat, Reshape, Slice
from hugectr2onnx.passes import cost
from hugectr2onnx.passes.pattern import P, Var
from hugectr2onnx.passes.rewriter import Fires, Rule, apply, rule

X, Y = Var("x"), Var("y")
REPEATED = P(Repeat, X, name="repeated", shared=True)


def _broadcast(x: Value, y: Value, repeated: Value, root: Value, *, swapped: bool = False) -> Value | None:
    """Return the operation with x instead of repeated; `swapped` where x is its right operand."""
    op = repeated.op
    assert isinstance(op, Repeat)
    alike = root.type == repeated.type == y.type and x.type.rank == 2
    if not alike or isinstance(y.op, Repeat):
        return None
    rows, width = x.shape
    pays = cost.is_worth_broadcasting(op.factor) if op.axis == 1 else width == 1
    if not pays:
        return None
    if op.axis == 1 and width == 1:
        return root.op(y, x) if swapped else root.op(x, y)
    apart = Reshape((rows, width, 1))(x)
    other = Reshape((rows, width, op.factor) if op.axis == 1 else (rows, op.factor, 1))(y)
    return Reshape(root.shape)(root.op(other, apart) if swapped else root.op(apart, other))


@rule(REPEATED * Y)
def broadcast_mul(x: Value, y: Value, repeated: Value, root: Value) -> Value | None:
    """repeat(x) * y  ->  reshape(reshape(x) * reshape(y))"""
    return _broadcast(x, y, repeated, root)


@rule(REPEATED + Y)
def broadcast_add(x: Value, y: Value, repeated: Value, root: Value) -> Value | None:
    """repeat(x) + y  ->  reshape(reshape(x) + reshape(y))"""
    return _broadcast(x, y, repeated, root)


@rule(REPEATED - Y)
def broadcast_minuend(x: Value, y: Value, repeated: Value, root: Value) -> Value | None:
    """repeat(x) - y  ->  reshape(reshape(x) - reshape(y))"""
    return _broadcast(x, y, repeated, root)


@rule(Y - REPEATED)
def broadcast_subtrahend(x: Value, y: Value, repeated: Value, root: Value) -> Value | None:
    """y - repeat(x)  ->  reshape(reshape(y) - reshape(x))"""
    return _broadcast(x, y, repeated, root, swapped=True)


def _sink_binary(root: Value) -> Value | None:
    a, b = root.inputs
    if not isinstance(a.op, Repeat) or a.op != b.op or a.type != b.type:
        return None
    return a.op(root.op(a.inputs[0], b.inputs[0]))


@rule(P(Repeat) * P(Repeat))
def sink_below_mul(root: Value) -> Value | None:
    """repeat(a) * repeat(b)  ->  repeat(a * b)"""
    return _sink_binary(root)


@rule(P(Repeat) + P(Repeat))
def sink_below_add(root: Value) -> Value | None:
    """repeat(a) + repeat(b)  ->  repeat(a + b)"""
    return _sink_binary(root)


@rule(P(Repeat) - P(Repeat))
def sink_below_sub(root: Value) -> Value | None:
    """repeat(a) - repeat(b)  ->  repeat(a - b)"""
    return _sink_binary(root)


@rule(P(Linear, REPEATED, Var("w"), Var("b")))
def sink_below_linear(x: Value, repeated: Value, root: Value) -> Value | None:
    """linear(repeat(x) {axis=0}, w, b)  ->  repeat(linear(x, w, b)) {axis=0}"""
    op = repeated.op
    assert isinstance(op, Repeat)
    return op(root.op(x, *root.inputs[1:])) if op.axis < x.type.rank - 1 else None


@rule(P(Slice, REPEATED))
def sink_below_slice(x: Value, repeated: Value, root: Value) -> Value | None:
    """slice(repeat(x) {axis=0}) {axis=1}  ->  repeat(slice(x) {axis=1}) {axis=0}"""
    assert isinstance(repeated.op, Repeat)
    assert isinstance(root.op, Slice)
    return repeated.op(root.op(x)) if root.op.axis != repeated.op.axis else None


RULES: tuple[Rule, ...] = (
    broadcast_mul,
    broadcast_add,
    broadcast_minuend,
    broadcast_subtrahend,
    sink_below_mul,
    sink_below_add,
    sink_below_sub,
    sink_below_linear,
    sink_below_slice,
)


def broadcast_repeats(graph: Graph) -> Fires:
    """%r = repeat(%g) {axis=1, factor=128} : f32[N, 128]; %y = mul(%r, %e)  ->  %y = mul(%g, %e), with %g : f32[N, 1]"""
    return apply(graph, RULES)
