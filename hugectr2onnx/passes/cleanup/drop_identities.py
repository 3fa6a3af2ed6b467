"""Drop operations that give back what they were given."""

from __future__ import annotations

from hugectr2onnx.ir.graph import Graph, Value
from hugectr2onnx.ir.ops.elementwise import Relu
from hugectr2onnx.ir.ops.shape import Concat, Repeat, Reshape, Slice, Take, Transpose
from hugectr2onnx.ir.ops.structural import Identity
from hugectr2onnx.passes.pattern import P, Var
from hugectr2onnx.passes.rewriter import Fires, apply, rule

_X = Var("x")


@rule(P(Identity, _X))
def drop_identity(x: Value) -> Value:
    """identity(x)  ->  x: Dropout and Cast at evaluation"""
    return x


@rule(P(Slice, _X))
def drop_whole_slice(x: Value, root: Value) -> Value | None:
    """slice(x) {the whole axis}  ->  x: the copies that HugeCTR inserts where a tensor has several readers"""
    return x if x.type == root.type else None


@rule(P(Concat, _X))
def drop_single_concat(x: Value) -> Value:
    """concat(x)  ->  x"""
    return x


@rule(P(Reshape, _X))
def drop_reshape_to_same(x: Value, root: Value) -> Value | None:
    """reshape(x) {shape of x}  ->  x"""
    return x if x.type == root.type else None


@rule(P(Reshape, P(Reshape, _X, shared=True)))
def merge_reshapes(x: Value, root: Value) -> Value:
    """reshape(reshape(x))  ->  reshape(x)"""
    return root.op(x)


@rule(P(Transpose, _X))
def drop_transpose(x: Value, root: Value) -> Value | None:
    """transpose(x) {perm=[0, 1, ...]}  ->  x"""
    assert isinstance(root.op, Transpose)
    return x if root.op.perm == tuple(range(x.type.rank)) else None


@rule(P(Repeat, _X))
def drop_single_repeat(x: Value, root: Value) -> Value | None:
    """repeat(x) {factor=1}  ->  x"""
    assert isinstance(root.op, Repeat)
    return x if root.op.factor == 1 else None


@rule(P(Take, _X))
def drop_whole_take(x: Value, root: Value) -> Value | None:
    """take(x) {indices=[0, 1, ..., length - 1]}  ->  x"""
    assert isinstance(root.op, Take)
    length = x.type.shape[root.op.axis]
    return x if isinstance(length, int) and root.op.indices == tuple(range(length)) else None


@rule(P(Slice, P(Slice, _X, name="inner", shared=True)))
def merge_slices(x: Value, inner: Value, root: Value) -> Value | None:
    """slice(slice(x))  ->  slice(x), along the same axis"""
    outer_op, inner_op = root.op, inner.op
    assert isinstance(outer_op, Slice)
    assert isinstance(inner_op, Slice)
    if outer_op.axis != inner_op.axis:
        return None
    return Slice(outer_op.axis, inner_op.start + outer_op.start, inner_op.start + outer_op.end)(x)


@rule(P(Relu, P(Relu, _X, name="inner", shared=True)))
def merge_relus(inner: Value) -> Value:
    """relu(relu(x))  ->  relu(x)"""
    return inner


RULES = (
    drop_identity,
    drop_whole_slice,
    drop_single_concat,
    drop_reshape_to_same,
    merge_reshapes,
    drop_transpose,
    drop_single_repeat,
    drop_whole_take,
    merge_slices,
    merge_relus,
)


def drop_identities(graph: Graph) -> Fires:
    """%a = identity(%x); %b = slice(%a) {0, whole}  ->  %x"""
    return apply(graph, RULES)
