"""Compose operations that only move data, until what is moved twice is moved once or not at all."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import accumulate, pairwise

from hugectr2onnx.ir.graph import Graph, Value
from hugectr2onnx.ir.ops.elementwise import Binary, Elu, Relu, Sigmoid
from hugectr2onnx.ir.ops.reduce import Reduce, ReduceMean, ReduceSum
from hugectr2onnx.ir.ops.shape import Concat, Reshape, Slice, Transpose
from hugectr2onnx.passes.pattern import P, Var
from hugectr2onnx.passes.rewriter import Fires, apply, rule

_X = Var("x")


@rule(P(Slice, P(Concat, name="joined", shared=True)))
def slice_operand(joined: Value, root: Value) -> Value | None:
    """slice(concat(a, b)) {a range inside b}  ->  slice(b), or b itself"""
    cut, join = root.op, joined.op
    assert isinstance(cut, Slice)
    assert isinstance(join, Concat)
    if cut.axis != join.axis:
        return None
    for operand, start, end in _ranges(joined):
        if start <= cut.start and cut.end <= end:
            whole = operand.type == root.type
            return operand if whole else Slice(cut.axis, cut.start - start, cut.end - start)(operand)
    return None


def _ranges(joined: Value) -> Iterator[tuple[Value, int, int]]:
    assert isinstance(joined.op, Concat)
    lengths = [operand.type.shape[joined.op.axis] for operand in joined.inputs]
    ends = accumulate((length for length in lengths if isinstance(length, int)), initial=0)
    return ((operand, *ends) for operand, ends in zip(joined.inputs, pairwise(ends), strict=True))


@rule(P(Concat))
def join_neighbours(root: Value) -> Value | None:
    """concat(slice(x) {0, 2}, slice(x) {2, 5}, y)  ->  concat(slice(x) {0, 5}, y)"""
    join = root.op
    assert isinstance(join, Concat)
    runs: list[list[Value]] = []
    for operand in root.inputs:
        if runs and _are_neighbours(runs[-1][-1], operand, join.axis):
            runs[-1].append(operand)
        else:
            runs.append([operand])
    if len(runs) == len(root.inputs):
        return None
    operands = [_cover(run) for run in runs]
    return join(*operands) if len(operands) > 1 else operands[0]


def _are_neighbours(left: Value, right: Value, axis: int) -> bool:
    a, b = left.op, right.op
    if not isinstance(a, Slice) or not isinstance(b, Slice) or left.inputs != right.inputs:
        return False
    return a.axis == b.axis == axis and a.end == b.start


def _cover(run: list[Value]) -> Value:
    """Return one slice for slices that follow one another, or the whole value."""
    first, last = run[0].op, run[-1].op
    if len(run) == 1 or not isinstance(first, Slice) or not isinstance(last, Slice):
        return run[0]
    x = run[0].inputs[0]
    whole = first.start == 0 and last.end == x.type.shape[first.axis]
    return x if whole else Slice(first.axis, first.start, last.end)(x)


@rule(P(Concat))
def merge_concats(root: Value) -> Value | None:
    """concat(concat(a, b), c)  ->  concat(a, b, c), along the same axis"""
    if not any(operand.op == root.op and operand.has_one_use for operand in root.inputs):
        return None
    nested = ((o.inputs if o.op == root.op and o.has_one_use else (o,)) for o in root.inputs)
    return root.op(*(operand for operands in nested for operand in operands))


@rule(P(Transpose, P(Transpose, _X, name="inner", shared=True)))
def merge_transposes(x: Value, inner: Value, root: Value) -> Value:
    """transpose(transpose(x))  ->  transpose(x), or x"""
    outer, first = root.op, inner.op
    assert isinstance(outer, Transpose)
    assert isinstance(first, Transpose)
    perm = tuple(first.perm[axis] for axis in outer.perm)
    return x if perm == tuple(range(len(perm))) else Transpose(perm)(x)


def _reshape_single(x: Value, root: Value) -> Value | None:
    op = root.op
    assert isinstance(op, Reduce)
    return Reshape(root.shape)(x) if x.shape[op.axis] == 1 else None


@rule(P(ReduceSum, _X))
def drop_single_sum(x: Value, root: Value) -> Value | None:
    """reduce_sum(x) over an axis of length 1  ->  reshape(x)"""
    return _reshape_single(x, root)


@rule(P(ReduceMean, _X))
def drop_single_mean(x: Value, root: Value) -> Value | None:
    """reduce_mean(x) over an axis of length 1  ->  reshape(x)"""
    return _reshape_single(x, root)


@rule(P(Reshape, Var("between")))
def reshape_once(between: Value, root: Value) -> Value | None:
    """reshape(relu(reshape(x)))  ->  reshape(relu(x)); reshape(add(reshape(x), reshape(y))) likewise, x and y of one shape"""
    if not isinstance(between.op, Relu | Sigmoid | Elu | Binary) or not between.has_one_use:
        return None
    if not all(isinstance(o.op, Reshape) and o.type.shape == between.type.shape for o in between.inputs):
        return None
    sources = [operand.inputs[0] for operand in between.inputs]
    if any(source.shape != sources[0].shape for source in sources):
        return None
    moved = between.op(*sources)
    return moved if moved.type == root.type else Reshape(root.shape)(moved)


@rule(P(Reshape, P(Slice, P(Reshape, _X, name="rows", shared=True), name="cut")))
def slice_before_reshape(x: Value, rows: Value, cut: Value, root: Value) -> Value | None:
    """reshape(slice(reshape(x))) along the last axis, which the first reshape keeps  ->  reshape(slice(x))"""
    op = cut.op
    assert isinstance(op, Slice)
    if op.axis != rows.type.rank - 1 or x.shape[-1:] != rows.shape[-1:]:
        return None
    return Reshape(root.shape)(Slice(x.type.rank - 1, op.start, op.end)(x))


RULES = (
    slice_operand,
    slice_before_reshape,
    join_neighbours,
    merge_concats,
    merge_transposes,
    drop_single_sum,
    drop_single_mean,
    reshape_once,
)


def canonicalize_data_movement(graph: Graph) -> Fires:
    """%c = concat(%a, %b); %s = slice(%c) {%b}; relu(%s)  ->  relu(%b)"""
    return apply(graph, RULES)
