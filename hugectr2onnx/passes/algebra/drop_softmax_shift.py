"""Drop a number that is added to all scores of a Softmax, which does not change its result.

softmax(x + c) = softmax(x) if c is the same along the last axis
"""

from __future__ import annotations

from hugectr2onnx.ir.graph import Graph, Value
from hugectr2onnx.ir.ops.reduce import Softmax
from hugectr2onnx.ir.ops.shape import Repeat, Reshape
from hugectr2onnx.passes.pattern import P, Var
from hugectr2onnx.passes.rewriter import Fires, apply, rule


@rule(P(Softmax, P(Reshape, Var("x") + P(Repeat, name="repeated"), name="scores")))
def drop_repeated_shift(x: Value, repeated: Value, scores: Value, root: Value) -> Value | None:
    """softmax(reshape(x + repeat(c)) [.., k])  ->  softmax(reshape(x)), c being repeated k times"""
    op = repeated.op
    assert isinstance(op, Repeat)
    # The scores of one Softmax must share one number: a repetition of rows, as long as a Softmax is wide.
    one_a_group = op.axis == 0 and repeated.type == x.type and repeated.shape[1:] == (1,)
    if not one_a_group or op.factor != scores.shape[-1] or any(use.node is root.graph.sink for use in root.uses):
        return None
    return Softmax()(scores.op(x))


def drop_softmax_shift(graph: Graph) -> Fires:
    """%a = add(%x, repeat(%c)); %p = softmax(reshape(%a))  ->  %p = softmax(reshape(%x))"""
    return apply(graph, [drop_repeated_shift])
