"""Factorization machines as matrix products (layers 3.14).

`FM(z) = ((sum_s z_s)^2 - sum_s z_s^2) / 2` over the slots z_s of V numbers each. A slot is a stretch of plain columns or a
feature times its vector, so both sums are linear: with X the plain columns and the features side by side, and M the identities
and vectors below one another,

    sum_s z_s = X @ M          sum_s z_s^2 = X^2 @ M^2

The sum of the result over V takes the row sums of M^2 instead. Neither form cancels more than the other, except where all
slots but one are 0: there the layers give exactly 0 and, if that one is a feature, the products some 5 * 2^-24 of its square.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from hugectr2onnx.ir.graph import Graph, Value
from hugectr2onnx.ir.ops.factorization import FactorizationMachine
from hugectr2onnx.ir.ops.reduce import ReduceSum
from hugectr2onnx.ir.ops.shape import Reshape
from hugectr2onnx.ir.types import Array
from hugectr2onnx.passes import cost
from hugectr2onnx.passes.analysis.columns import Part, columns_of, expanded, flatten, side_by_side
from hugectr2onnx.passes.analysis.products import multiply
from hugectr2onnx.passes.pattern import P
from hugectr2onnx.passes.rewriter import Fires, apply, rule


@dataclass(frozen=True)
class _Sums:
    """X and M, so that the slots add up to `X @ M`."""

    x: Value
    matrix: Array

    @staticmethod
    def of(machine: Value) -> _Sums | None:
        """None where reductions are the cheaper way."""
        slots = machine.inputs[0]
        width = slots.type.shape[2]
        parts = _parts(slots)
        if not isinstance(width, int) or parts is None or not all(_fits(part, width) for part in parts):
            return None
        if sum(part.length for part in parts) < 2 * width:
            return None
        features = [part for part in parts if part.vectors is not None]
        if not cost.is_worth_adding_by_product(width, features=bool(features)) and len(features) < len(parts):
            return None
        return _Sums(side_by_side(parts), np.vstack([_matrix(part, width) for part in parts]))

    @property
    def squared(self) -> Array:
        return np.square(self.matrix)


def _parts(slots: Value) -> list[Part] | None:
    found = expanded(slots)
    if found is not None:
        return [Part(flatten(found[0]), found[1])]
    batch, count, width = slots.type.shape
    if not isinstance(count, int) or not isinstance(width, int):
        return None
    flat = slots.inputs[0] if isinstance(slots.op, Reshape) else slots
    if flat.shape != (batch, count * width):
        flat = Reshape((batch, count * width))(flat)
    return columns_of(flat)


def _fits(part: Part, width: int) -> bool:
    return part.length % width == 0 if part.vectors is None else part.vectors.shape[1] == width


def _matrix(part: Part, width: int) -> Array:
    return np.tile(np.eye(width), (part.length // width, 1)) if part.vectors is None else part.vectors


@rule(P(ReduceSum, P(FactorizationMachine, name="machine")))
def expand_summed_factorization_machine(machine: Value, root: Value) -> Value | None:
    """reduce_sum(factorization_machine(z))  ->  (X @ M)^2 @ [1/2] + X^2 @ [-row sums of M^2 / 2]"""
    assert isinstance(root.op, ReduceSum)
    sums = _Sums.of(machine) if root.op.axis == 1 else None
    if sums is None:
        return None
    total = multiply(sums.x, sums.matrix)
    squares = multiply(sums.x * sums.x, sums.squared.sum(1, keepdims=True) * -0.5)
    if total is None or squares is None:
        return None
    halves = multiply(total * total, np.full((sums.matrix.shape[1], 1), 0.5))
    assert halves is not None
    result: Value = halves + squares
    return result if root.op.keepdims else Reshape(root.shape)(result)


@rule(P(FactorizationMachine))
def expand_factorization_machine(root: Value) -> Value | None:
    """factorization_machine(z)  ->  (X @ M)^2 / 2 + X^2 @ [-M^2 / 2]"""
    sums = _Sums.of(root)
    if sums is None:
        return None
    total = multiply(sums.x, sums.matrix)
    squares = multiply(sums.x * sums.x, sums.squared * -0.5)
    if total is None or squares is None:
        return None
    return total * total * 0.5 + squares


def expand_factorization_machines(graph: Graph) -> Fires:
    """%y = factorization_machine(%z)  ->  %t = mat_mul(%x, %M); %q = mat_mul(mul(%x, %x), %M2); %y = add(..., %q)"""
    return apply(graph, [expand_summed_factorization_machine]) + apply(graph, [expand_factorization_machine])
