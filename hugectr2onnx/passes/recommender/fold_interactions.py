"""DLRM's dot interaction into the product that follows it (layers 3.13).

Its last column is 0, so the weight row that meets it goes. Taking the products below the diagonal one by one costs a copy
of four bytes each; where the number of vectors allows, they are taken in runs of two to four neighbours, and the few
neighbours from the diagonal or above it meet a row of zeros. So a vector whose squared length overflows float32 (1.8e19
long) makes NaN, though its products with the others need not overflow: every run beside the diagonal takes a part of it.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from hugectr2onnx.ir.graph import Graph, Use, Value
from hugectr2onnx.ir.ops.interaction import DotInteraction
from hugectr2onnx.ir.ops.linear import Linear, MatMul
from hugectr2onnx.ir.ops.shape import Concat, Reshape, Take, Transpose
from hugectr2onnx.ir.types import Array
from hugectr2onnx.passes import cost
from hugectr2onnx.passes.analysis.products import Product
from hugectr2onnx.passes.pattern import P, Var
from hugectr2onnx.passes.rewriter import Fires, apply, rule

RUNS = (4, 3, 2)
INTERACTION = P(DotInteraction, Var("x"), Var("e"), name="interaction", shared=True)


@dataclass(frozen=True)
class _Triangle:
    """The runs of the flat [count * count] products that hold those below the diagonal."""

    count: int
    run: int

    @staticmethod
    def of(count: int) -> _Triangle:
        """Return the longest run that suits so many vectors."""
        needed = count * (count - 1) // 2
        candidates = [_Triangle(count, run) for run in RUNS if count % run == 0]
        return next((t for t in candidates if cost.is_worth_taking(len(t.runs) * t.run, needed)), _Triangle(count, 1))

    @property
    def places(self) -> Array:
        """Where the products stand, in the order of the interaction's columns."""
        later, earlier = np.tril_indices(self.count, -1)
        return np.asarray(later * self.count + earlier)

    @property
    def runs(self) -> tuple[int, ...]:
        return tuple(int(run) for run in np.unique(self.places // self.run))

    def rows(self, weight: Array) -> Array:
        """Return the weight rows in the order of the columns taken, zero where a column is not needed."""
        source = np.full(self.count * self.count, -1)
        source[self.places] = np.arange(len(weight))
        taken = source.reshape(-1, self.run)[list(self.runs)].ravel()
        return np.where(taken[:, None] < 0, 0.0, weight[taken])


@rule(P(Linear, INTERACTION, Var("w"), Var("b")))
def fold_interaction_into_linear(x: Value, e: Value, interaction: Value, root: Value) -> Value | None:
    """linear(dot_interaction(x, e), w, b)  ->  linear(concat(x, pairs), w', b)"""
    return _fold(x, e, interaction, root)


@rule(INTERACTION @ Var("w"))
def fold_interaction_into_product(x: Value, e: Value, interaction: Value, root: Value) -> Value | None:
    """mat_mul(dot_interaction(x, e), w)  ->  mat_mul(concat(x, pairs), w')"""
    return _fold(x, e, interaction, root)


def _fold(x: Value, e: Value, interaction: Value, root: Value) -> Value | None:
    product = Product.of(root)
    batch, count, width = e.type.shape
    if product is None or not all(map(_folds, interaction.uses)):
        return None
    assert isinstance(count, int)
    assert isinstance(width, int)
    triangle = _Triangle.of(count + 1)
    vectors = Concat(1)(Reshape((batch, 1, width))(x), e)
    products = vectors @ Transpose((0, 2, 1))(vectors)
    weight = product.weight
    folded = np.vstack([weight[:width], triangle.rows(weight[width:-1])])
    return product.on(Concat(1)(x, _take(products, triangle)), folded, product.bias)


def _folds(use: Use) -> bool:
    return use.slot == 0 and isinstance(use.node.op, Linear | MatMul) and Product.of(use.node.results[0]) is not None


def _take(products: Value, triangle: _Triangle) -> Value:
    """[batch, count, count] -> [batch, columns]"""
    batch, count, run = products.shape[0], triangle.count, triangle.run
    if run == 1:
        return Take(1, triangle.runs)(Reshape((batch, count * count))(products))
    taken = Take(1, triangle.runs)(Reshape((batch, count * count // run, run))(products))
    return Reshape((batch, len(triangle.runs) * run))(taken)


def fold_interactions(graph: Graph) -> Fires:
    """%i = dot_interaction(%x, %e); %y = linear(%i, %w, %b)  ->  %p = take(...); %y = linear(concat(%x, %p), %w', %b)"""
    return apply(graph, [fold_interaction_into_linear, fold_interaction_into_product])
