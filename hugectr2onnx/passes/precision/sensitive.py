"""Find the products of a graph that must not be rounded, however large they are."""

from __future__ import annotations

from hugectr2onnx.ir.graph import Graph, Node, Value
from hugectr2onnx.ir.ops.elementwise import Add, Mul
from hugectr2onnx.ir.ops.factorization import FactorizationMachine
from hugectr2onnx.ir.ops.linear import Accumulate, Linear, MatMul, TransposedLinear
from hugectr2onnx.ir.ops.shape import Concat, Reshape, Slice, Transpose
from hugectr2onnx.ir.ops.split import Split
from hugectr2onnx.ir.ops.structural import Identity

_CARRIED = (Add, Concat, Reshape, Slice, Split, Transpose, Identity)
"""Through these a rounding error reaches a square as it is. A mean that is subtracted first makes a variance, which is fine."""


def is_squared(product: Value) -> bool:
    """Tell whether a product, or a sum with it, is squared: of two squares that are subtracted mostly their errors remain."""
    seen, waiting = {product.node}, [product]
    while waiting:
        value = waiting.pop()
        for use in value.uses:
            reader = use.node
            if isinstance(reader.op, FactorizationMachine) or is_square(reader):
                return True
            scaled = isinstance(reader.op, Mul) and any(each.const is not None for each in reader.inputs)
            if (scaled or isinstance(reader.op, _CARRIED)) and reader not in seen:
                seen.add(reader)
                waiting += reader.results
    return False


def is_square(node: Node) -> bool:
    """Tell whether a node multiplies a value with itself."""
    return isinstance(node.op, Mul) and node.inputs[0] == node.inputs[1]


def before_others(graph: Graph) -> set[Node]:
    """Return the nodes whose results some product still takes in; a product that is not among them is a last one."""
    before: set[Node] = set()
    for node in reversed(list(graph)):
        if node in before:
            before.update(operand.node for operand in node.inputs)
        elif isinstance(node.op, Linear | MatMul | Accumulate | TransposedLinear):
            # The third is only added to the product.
            before.update(operand.node for operand in node.inputs[:2])
    return before
