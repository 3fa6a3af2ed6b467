"""A recurrence on numbers of a sample as a sum of products: the closed form of a cross network (`expand_cross_networks`).

    ((f0 f1 + c1) f2 + c2) f3  =  f0 f1 f2 f3 + c1 f2 f3 + c2 f3

Each step of the left side is two small operations; the right side takes three in all, however many steps there are: the
factors of every product, filled up with ones, the products, and a product with the constants.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from hugectr2onnx.ir.graph import Graph, Node, Value
from hugectr2onnx.ir.ops.elementwise import Add, Mul
from hugectr2onnx.ir.ops.linear import MatMul, TransposedLinear
from hugectr2onnx.ir.ops.reduce import ProductsOfRows
from hugectr2onnx.ir.ops.split import Split
from hugectr2onnx.passes import cost
from hugectr2onnx.passes.rewriter import Fires, inherit_sources


def expand_recurrences(graph: Graph) -> Fires:
    """%f, %g, %h = split(%x); %y = add(mul(add(mul(%f, %g), %c), %h), %d)  ->  mat_mul([1 %c %d], products_of_rows(%x'))"""
    splits = [node for node in graph if isinstance(node.op, Split)]
    return +Fires({"expand_recurrences": sum(_expand(node) for node in splits if node in graph)})


@dataclass
class _Recurrence:
    """The value computed so far, as products: the constant of each, and its factors by number."""

    value: Value
    products: list[tuple[float, list[int]]]
    steps: int = 0

    def multiply(self, result: Value, factor: int) -> None:
        for _, factors in self.products:
            factors.append(factor)
        self.value, self.steps = result, self.steps + 1

    def add(self, result: Value, constant: float) -> None:
        self.products.append((constant, []))
        self.value, self.steps = result, self.steps + 1


def _expand(split: Node) -> int:
    op, product = split.op, split.inputs[0]
    assert isinstance(op, Split)
    if op.axis != 0 or set(op.sizes) != {1}:
        return 0
    if not isinstance(product.op, TransposedLinear) or not product.has_one_use:
        return 0
    weight, x, shift = product.inputs
    found = _recurrence(split)
    if found is None or weight.const is None or shift.const is None or shift.shape != (len(op.sizes), 1):
        return 0
    graph = split.graph
    with graph.building() as added:
        ones = TransposedLinear()(
            graph.const(np.vstack([weight.const, np.zeros_like(weight.const[:1])])),
            x,
            graph.const(np.vstack([shift.const, np.ones((1, 1), np.float32)])),
        )
        one = len(op.sizes)
        rows = tuple(tuple(factors + [one] * (one - len(factors))) for _, factors in found.products)
        constants = np.array([[constant for constant, _ in found.products]], np.float32)
        total = MatMul()(graph.const(constants), ProductsOfRows(rows)(ones))
    graph.replace(found.value, total)
    inherit_sources(added, graph.erase_dead(found.value.node)[0])
    return 1


def _recurrence(split: Node) -> _Recurrence | None:
    """Return all that is made of the pieces, if it is one recurrence that takes each of them once."""
    pieces = {piece: number for number, piece in enumerate(split.results)}
    if not all(piece.has_one_use for piece in pieces):
        return None
    so_far = _Recurrence(split.results[0], [(1.0, [0])])
    while _step(so_far, pieces):
        pass
    whole = len(so_far.products[0][1]) == len(pieces)
    return so_far if whole and cost.is_worth_expanding(so_far.steps, len(pieces)) else None


def _step(so_far: _Recurrence, pieces: dict[Value, int]) -> bool:
    if not so_far.value.has_one_use:
        return False
    reader = so_far.value.uses[0].node
    others = [operand for operand in reader.inputs if operand != so_far.value]
    if len(others) != 1 or len(reader.types) != 1 or reader.types[0] != so_far.value.type:
        return False
    (other,) = others
    if isinstance(reader.op, Mul) and other in pieces:
        so_far.multiply(reader.results[0], pieces[other])
        return True
    if isinstance(reader.op, Add) and other.const is not None and other.const.size == 1:
        so_far.add(reader.results[0], float(other.const.reshape(())))
        return True
    return False
