"""Layer normalization between matrix products is one division by a length: the products take the rest into their weights.

Let R be orthogonal with a last column of 1/sqrt(n). Without its last column, z = x R is x - mean(x) in n - 1 numbers, as
long as that; in the last column's place a constant sqrt(n * eps) makes the length sqrt(n * (var(x) + eps)). So

    gamma * (x - mean(x)) / sqrt(var(x) + eps) + beta = (z / |z|) M + beta,  M = sqrt(n) R^T gamma, its last row 0,

and where x is a product, z is one as well; what reads the normalization by products multiplies their weights by M. R is the
reflection that takes a number common to all columns off each of them, as the mean is taken off.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from hugectr2onnx.ir.graph import Graph, Use, Value
from hugectr2onnx.ir.ops.linear import Accumulate, Linear, MatMul
from hugectr2onnx.ir.ops.normalization import LayerNormalization, UnitLength
from hugectr2onnx.ir.ops.shape import Concat, Reshape
from hugectr2onnx.ir.types import Array
from hugectr2onnx.passes import cost
from hugectr2onnx.passes.analysis.products import Product, exact, multiply, plus, rounded
from hugectr2onnx.passes.rewriter import Fires


@dataclass(frozen=True)
class Reading:
    """A product whose operand has, from column `start` on, `length` columns: rows of a normalization side by side."""

    product: Product
    start: int
    length: int


@dataclass(frozen=True)
class _Columns:
    """`length` columns of a value, from `start` on."""

    value: Value
    start: int
    length: int

    def after(self, use: Use) -> _Columns | None:
        """Tell where they are after a Reshape or a Concat; None after anything else, or where they are cut."""
        op = use.node.op
        if isinstance(op, Reshape):
            return self._reshaped(use.node.results[0])
        if not isinstance(op, Concat) or op.axis != self.value.type.rank - 1:
            return None
        before = [operand.shape[-1] for operand in use.node.inputs[: use.slot]]
        widths = [width for width in before if isinstance(width, int)]
        if len(widths) < len(before):
            return None
        return _Columns(use.node.results[0], sum(widths) + self.start, self.length)

    def _reshaped(self, result: Value) -> _Columns | None:
        width = result.shape[-1] if result.type.rank > 1 else None
        whole = self.length == self.value.shape[-1]
        return _Columns(result, 0, width) if whole and isinstance(width, int) and width % self.length == 0 else None

    def read(self, use: Use) -> Reading | None:
        """Return a product that reads them, or None if something else does."""
        reads = isinstance(use.node.op, Linear | MatMul) and use.slot == 0
        product = Product.of(use.node.results[0]) if reads else None
        return Reading(product, self.start, self.length) if product else None


def fold_layer_norms(graph: Graph) -> Fires:
    """linear(layer_normalization(linear(%x, %w, %b)), %v, %c)  ->  linear(unit_length(linear(%x, %w', %b')), %v', %c')"""
    nodes = [node for node in graph if isinstance(node.op, LayerNormalization)]
    return +Fires({"fold_layer_norms": sum(_fold(node.results[0]) for node in nodes)})


def _fold(normal: Value) -> bool:
    op, (x, gamma, beta) = normal.op, normal.inputs
    assert isinstance(op, LayerNormalization)
    n = x.shape[-1]
    # The weights of products take the affine part in, so it must be known, and the products must be of matrices.
    if x.type.rank != 2 or gamma.const is None or beta.const is None:
        return False
    if not isinstance(n, int) or not cost.is_worth_unit_length(n):
        return False
    readings = _all_readings(normal, n)
    rest = math.sqrt(n * op.epsilon)
    # An epsilon that is 0 in float32 would leave rows of equal numbers with a length of 0 to divide by.
    if not readings or not np.float32(rest):
        return False
    with normal.graph.building(*normal.node.sources) as added:
        turn = _reflection(n)[:, :-1]
        back = np.vstack([math.sqrt(n) * turn.T * exact(gamma), np.zeros(n)])
        turned = _turn(x, turn, rest)
        replaced = [_read(reading, back, exact(beta)) for reading in readings]
        if turned is None or None in replaced:
            for node in reversed(added):
                normal.graph.erase(node)
            return False
        unit = UnitLength()(turned)
    for reading, product in zip(readings, replaced, strict=True):
        assert product is not None
        normal.graph.replace(reading.product.value, product)
        normal.graph.erase_dead(reading.product.value.node)
    normal.graph.replace(normal, unit)
    normal.graph.erase_dead(normal.node)
    return True


def _reflection(n: int) -> Array:
    """Symmetric and orthogonal; the last column is 1 / sqrt(n) throughout."""
    v = np.full(n, 1 / math.sqrt(n))
    v[-1] -= 1
    return np.asarray(np.eye(n) - 2 * np.outer(v, v) / (v @ v))


def _turn(x: Value, turn: Array, rest: float) -> Value | None:
    """x @ turn and a column of `rest`, where x is a product, or one added to another, that nothing else reads."""
    product = Product.of(x)
    if not x.has_one_use:
        return None
    if product and product.is_plain:
        bias = np.zeros(len(turn)) if product.bias is None else product.bias
        return multiply(product.x, _pad(product.weight @ turn), np.append(bias @ turn, rest))
    if not isinstance(x.op, Accumulate) or x.inputs[1].const is None:
        return None
    weight, below = rounded(_pad(exact(x.inputs[1]) @ turn)), _turn(x.inputs[2], turn, rest)
    return None if weight is None or below is None else x.op(x.inputs[0], x.graph.const(weight), below)


def _pad(weight: Array) -> Array:
    return np.pad(weight, ((0, 0), (0, 1)))


def _all_readings(normal: Value, n: int) -> list[Reading]:
    """Return the products that read a normalization; none if anything else does, or one reads it twice."""
    readings = list(_readings(normal, n))
    found = [reading for reading in readings if reading]
    different = {reading.product.value for reading in found}
    return found if len(different) == len(readings) else []


def _readings(normal: Value, n: int) -> Iterator[Reading | None]:
    """Tell what reads a normalization, through reshapes and joins; None for what is no product."""
    columns = _Columns(normal, 0, n)
    stack = [(columns, use) for use in reversed(normal.uses)]
    while stack:
        columns, use = stack.pop()
        moved = columns.after(use)
        if moved is None:
            yield columns.read(use)
        else:
            stack += [(moved, use) for use in reversed(moved.value.uses)]


def _read(reading: Reading, back: Array, beta: Array) -> Value | None:
    """Return the product with `back` in the rows of its weight that meet the normalization, and beta in its bias."""
    product, n = reading.product, len(back)
    weight, bias = product.weight.copy(), product.bias
    for start in range(reading.start, reading.start + reading.length, n):
        rows = weight[start : start + n]
        bias = plus(bias, beta @ rows)
        weight[start : start + n] = back @ rows
    return product.on(product.x, weight, bias)
