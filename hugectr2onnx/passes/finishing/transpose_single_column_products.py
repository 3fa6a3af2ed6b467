"""Compute a [N, 1] column as a [1, N] row.

    x @ w + c  =  (w^T @ x^T + c^T)^T          w is [k, 1]

onnxruntime packs the weight of a product and pads it to 16 columns, so that one column costs as much as 16. Transposed, the
weight is the left operand, and the product is one of a vector and a matrix, for which onnxruntime has a kernel of its own.
The operands that are added to a product, and the activations of the sum, are transposed with it; one Reshape at the end
restores the column.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import reduce
from math import inf
from operator import add

import numpy as np

from hugectr2onnx.ir.graph import Graph, Value
from hugectr2onnx.ir.ops.elementwise import Add, Binary, Elu, Relu, Sigmoid
from hugectr2onnx.ir.ops.linear import Accumulate, TransposedLinear
from hugectr2onnx.ir.ops.reduce import ReduceSum
from hugectr2onnx.ir.ops.shape import Reshape
from hugectr2onnx.ir.ops.split import Split
from hugectr2onnx.ir.types import Array, Batch, DType
from hugectr2onnx.passes import cost
from hugectr2onnx.passes.analysis.products import Product, exact, rounded
from hugectr2onnx.passes.rewriter import Fires, inherit_sources

MAX_DEPTH = 64
"""Operations of a chain that are transposed together; a longer chain stays as it is."""


def transpose_single_column_products(graph: Graph) -> Fires:
    """%y = add(linear(%x, %w, %b), %s) : f32[N, 1]  ->  %y = reshape(transposed_linear(%w^T, %x, %s^T + %b))"""
    columns = [value for node in list(graph) for value in node.results if _is_column(value)]
    return +Fires(
        {"transpose_single_column_products": sum(_transpose(each) for each in reversed(columns) if each.node in graph)}
    )


def _transpose(root: Value) -> int:
    if _is_transposed_with_reader(root):
        return 0
    read, reshapes = _cost(root)
    if not cost.is_worth_transposing(read, reshapes):
        return 0
    with root.graph.building() as added:
        back = Reshape(root.shape)(_Transposer(root.graph).turn(root))
    root.graph.replace(root, back)
    inherit_sources(added, root.graph.erase_dead(root.node)[0])
    return 1


def _is_column(value: Value) -> bool:
    """Tell whether a value is one number a sample."""
    batch, *rest = value.shape or (1,)
    return value.const is None and value.type.dtype is DType.F32 and isinstance(batch, Batch) and rest == [1]


def _parts(column: Value) -> list[Value]:
    """Return the columns of which a column is an element-wise function."""
    if isinstance(column.op, Accumulate):
        return [column.inputs[2]] if column.inputs[1].const is not None else []
    if not isinstance(column.op, Binary | Relu | Sigmoid | Elu):
        return []
    parts = [operand for operand in column.inputs if not _is_number(operand)]
    return parts if all(part.type == column.type for part in parts) else []


def _is_number(value: Value) -> bool:
    return value.const is not None and value.const.size == 1


def _product(column: Value) -> Product | None:
    """Return the product that a column is, if it is one of matrices."""
    product = Product.of(column)
    return product if product and product.x.type.rank == 2 else None


def _is_row_sum(column: Value) -> bool:
    return isinstance(column.op, ReduceSum) and column.inputs[0].type.rank == 2 and _width(column.inputs[0]) > 0


def _width(matrix: Value) -> int:
    """Return columns of a matrix, or 0 where they are a multiple of the batch."""
    length = matrix.shape[1]
    return length if isinstance(length, int) else 0


def _is_transposable(column: Value) -> bool:
    return bool(_parts(column) or _product(column) or _is_row_sum(column) or _is_piece(column))


def _is_transposed_with_reader(column: Value) -> bool:
    """Tell whether the only reader of a column is transposed, and the column with it."""
    reader = column.uses[0].node if column.has_one_use else None
    return reader is not None and any(column in _parts(result) for result in reader.results if _is_column(result))


def _is_piece(column: Value) -> bool:
    """Tell whether a column is one piece of a product that is split into columns, all of which are transposed."""
    op = column.op
    if not isinstance(op, Split) or set(op.sizes) != {1} or not cost.is_worth_splitting_rows(len(op.sizes)):
        return False
    product = _product(column.inputs[0])
    alone = product is not None and product.is_plain and column.inputs[0].has_one_use
    return alone and all(_is_transposed_with_reader(piece) for piece in column.node.results)


def _cost(column: Value, room: int = MAX_DEPTH) -> tuple[int, float]:
    """Return the values that products of single columns read per sample, and the operands that need a Reshape.

    The number of Reshapes is infinite if the column cannot be transposed.
    """
    if not room:
        return 0, inf  # the recursion would get too deep
    if parts := _parts(column):
        # A part that others read stays a column for them, so it costs a Reshape here.
        found = [_cost(part, room - 1) if part.has_one_use else (0, 1) for part in parts]
        # An Accumulate is a sum and a product at once: the product's operand counts here.
        own = _width(column.inputs[0]) if isinstance(column.op, Accumulate) else 0
        reshapes = sum(reshapes for _, reshapes in found)
        # A sum adds its constants up into one, which must be finite in float32.
        overflows = reshapes < inf and _is_sum(column) and _Sum().take_apart(column).shift is None
        return own + sum(read for read, _ in found), inf if overflows else reshapes
    product = _product(column)
    # What is no product, and no sum over rows or piece of one either, stays a column behind a Reshape.
    return product.shape[0] if product else 0, not _is_transposable(column)


def _is_sum(column: Value) -> bool:
    return isinstance(column.op, Add | Accumulate) and bool(_parts(column))


@dataclass
class _Sum:
    """The terms of a sum, with nested sums flattened."""

    products: list[Value] = field(default_factory=list)
    """Bare products (no added operand) and row sums."""
    numbers: list[Value] = field(default_factory=list)
    others: list[Value] = field(default_factory=list)

    def take_apart(self, total: Value) -> _Sum:
        operands = total.inputs
        if isinstance(total.op, Accumulate):
            self.products.append(total)
            operands = operands[2:]
        for operand in operands:
            if _is_sum(operand) and operand.has_one_use:
                self.take_apart(operand)
            else:
                self._list_for(operand).append(operand)
        return self

    def _list_for(self, term: Value) -> list[Value]:
        if _is_number(term):
            return self.numbers
        product = _product(term)
        is_plain = product.is_plain if product else _is_row_sum(term)
        return self.products if is_plain and term.has_one_use else self.others

    @property
    def shift(self) -> Array | None:
        """The sum of the numbers and the biases as [1, 1]; None if it overflows."""
        known = [_product(product) for product in self.products]
        biases = [product.bias for product in known if product and product.bias is not None]
        return rounded(np.sum([each.sum() for each in (*biases, *map(exact, self.numbers))]).reshape(1, 1))


class _Transposer:
    """Builds rows for columns. The pieces of one product are built together, once."""

    def __init__(self, graph: Graph):
        self._graph = graph
        self._pieces: dict[Value, Value] = {}

    def turn(self, column: Value) -> Value:
        """Transpose `column`; operands that cannot be transposed are reshaped."""
        if _is_sum(column):
            return self._sum(_Sum().take_apart(column))
        if _parts(column):
            return column.op(*map(self._operand, column.inputs))
        if _is_piece(column):
            return self._piece(column)
        product = _product(column)
        bias = product.bias if product else None
        row = self._on(column, self._graph.const(np.zeros((1, 1), np.float32) if bias is None else _row(bias)))
        return product.activation(row) if product and product.activation else row

    def _operand(self, operand: Value) -> Value:
        if operand.const is not None:
            return self._graph.const(operand.const.reshape(1, 1))
        turns = operand.has_one_use and _is_transposable(operand)
        return self.turn(operand) if turns else Reshape((1, operand.shape[0]))(operand)

    def _sum(self, terms: _Sum) -> Value:
        """Add the products one after the other to the sum of the other terms."""
        others, shift = [self._operand(other) for other in terms.others], terms.shift
        assert shift is not None
        total = reduce(add, others) if others else None
        if total is None or shift.any():
            number = self._graph.const(shift)
            total = number if total is None else total + number
        return reduce(lambda row, product: self._on(product, row), terms.products, total)

    def _on(self, product: Value, row: Value) -> Value:
        """Add a product to a row; a row sum is a product with ones."""
        x, *others = product.inputs
        weight = np.ones(_width(x)) if _is_row_sum(product) else exact(others[0])
        return TransposedLinear()(self._graph.const(_row(weight)), x, row)

    def _piece(self, piece: Value) -> Value:
        if piece not in self._pieces:
            whole = piece.inputs[0]
            product = _product(whole)
            assert product is not None
            bias = np.zeros(product.shape[1]) if product.bias is None else product.bias
            weight, shift = (self._graph.const(each.astype(np.float32)) for each in (product.weight.T, bias[:, None]))
            rows = Split(0, (1,) * product.shape[1])(TransposedLinear()(weight, product.x, shift))
            self._pieces |= zip(piece.node.results, rows.node.results, strict=True)
        return self._pieces[piece]


def _row(column: Array) -> Array:
    return column.astype(np.float32).reshape(1, -1)
