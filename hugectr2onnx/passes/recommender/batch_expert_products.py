"""Weighted sums of the same matrices as one product for each sample: the experts of MMoE.

sum_e g_te * h_e  =  (G @ H)_t          G [N, tasks, experts], H [N, experts, width] being the h side by side
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import islice

from hugectr2onnx.ir.graph import Graph, Node, Value
from hugectr2onnx.ir.ops.elementwise import Add, Mul
from hugectr2onnx.ir.ops.linear import MatMul
from hugectr2onnx.ir.ops.shape import Concat, Reshape
from hugectr2onnx.ir.ops.split import Split
from hugectr2onnx.passes import cost
from hugectr2onnx.passes.rewriter import Fires, inherit_sources


def batch_expert_products(graph: Graph) -> Fires:
    """%a, %b, %c, %d = split(%g); %a * %h + %b * %i; %c * %h + %d * %i  ->  split(mat_mul(%g, concat(%h, %i))), reshaped"""
    splits = [node for node in graph if isinstance(node.op, Split)]
    return +Fires({"batch_expert_products": sum(_mix(node) for node in splits if node in graph)})


def _mix(split: Node) -> int:
    weights, op = split.inputs[0], split.op
    assert isinstance(op, Split)
    if op.axis != 1 or weights.type.rank != 2 or set(op.sizes) != {1} or not cost.is_worth_batching(len(op.sizes)):
        return 0
    sums = list(dict.fromkeys(_sum_of(piece) for piece in split.results))
    experts = _experts(sums, split.results)
    if experts is None:
        return 0
    graph, (batch, width), tasks = split.graph, experts[0].shape, [each for each in sums if each]
    assert isinstance(width, int)
    with graph.building() as added:
        joined = Reshape((batch, len(experts), width))(Concat(1)(*experts))
        mixed = MatMul()(Reshape((batch, len(tasks), len(experts)))(weights), joined)
        flat = Reshape((batch, len(tasks) * width))(mixed)
        results = Split(1, (width,) * len(tasks))(flat).node.results if len(tasks) > 1 else (flat,)
    erased: list[Node] = []
    for old, new in zip(tasks, results, strict=True):
        graph.replace(old, new)
        erased += graph.erase_dead(old.node)[0]
    inherit_sources(added, erased)
    return 1


def _sum_of(piece: Value) -> Value | None:
    """Return the sum that a weight goes into: its product, then all that is added to it."""
    value: Value | None = _only_reader(piece, Mul)
    while value is not None and (reader := _only_reader(value, Add)) is not None:
        value = reader
    return value


def _only_reader(value: Value, kind: type[Add | Mul]) -> Value | None:
    reader = value.uses[0].node if value.has_one_use else None
    return reader.results[0] if reader is not None and isinstance(reader.op, kind) else None


def _experts(sums: Sequence[Value | None], pieces: Sequence[Value]) -> list[Value] | None:
    """Return the matrices, if every sum weighs all of them, with its share of the pieces in one order."""
    count = len(pieces) // len(sums)
    found: list[Value] = []
    for number, total in enumerate(sums):
        terms = dict(islice(_terms(total), len(pieces) + 1)) if total is not None else {}
        mine = pieces[number * count :][:count]
        if set(terms) != set(mine):
            return None
        found = found or [terms[piece] for piece in mine]
        if [terms[piece] for piece in mine] != found:
            return None
    types = {value.type for value in (*found, *sums) if value is not None}
    return found if len(types) == 1 and found[0].type.rank == 2 and len(set(found)) == count > 1 else None


def _terms(total: Value) -> Iterator[tuple[Value, Value]]:
    """Weight and matrix of every product that is added up; something else gives the value itself twice."""
    stack = [total]
    while stack:
        value = stack.pop()
        if isinstance(value.op, Add):
            stack += value.inputs
        elif isinstance(value.op, Mul):
            weight, matrix = value.inputs
            yield (weight, matrix) if isinstance(weight.op, Split) else (matrix, weight)
        else:
            yield value, value
