"""Patterns: pieces of IR with holes, written with the operators that build IR.

`Var("x") @ Var("w", const=True)` matches a matrix product with a constant on the right. `P(Reshape, X, name="outer")`
matches any Reshape and binds its value to `outer`; without operands it matches whatever the operands are.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import numpy as np

from hugectr2onnx.ir.graph import Value
from hugectr2onnx.ir.op import Op
from hugectr2onnx.ir.ops.elementwise import Add, Div, Mul, Sub
from hugectr2onnx.ir.ops.linear import MatMul
from hugectr2onnx.ir.ops.structural import Const

Bindings = Mapping[str, Value]


class Pattern:
    """A piece of IR with holes. `+ - * / @` on patterns give the pattern of the operation."""

    def build(self, op: Op, *operands: Pattern) -> P:
        """Return the pattern of an operation; calling an op on patterns ends here."""
        return P(op, *operands)

    def match(self, value: Value, bound: Bindings, root: bool = False) -> Iterator[Bindings]:
        """Yield every way to match: the bindings so far, with those of this pattern added."""
        raise NotImplementedError

    @property
    def names(self) -> frozenset[str]:
        """The names that every match binds."""
        return frozenset()

    def __add__(self, other: Pattern | float) -> P:
        return P(Add, self, _lift(other))

    def __radd__(self, other: float) -> P:
        return P(Add, _lift(other), self)

    def __sub__(self, other: Pattern | float) -> P:
        return P(Sub, self, _lift(other))

    def __rsub__(self, other: float) -> P:
        return P(Sub, _lift(other), self)

    def __mul__(self, other: Pattern | float) -> P:
        return P(Mul, self, _lift(other))

    def __rmul__(self, other: float) -> P:
        return P(Mul, _lift(other), self)

    def __truediv__(self, other: Pattern | float) -> P:
        return P(Div, self, _lift(other))

    def __matmul__(self, other: Pattern) -> P:
        return P(MatMul, self, other)


@dataclass(frozen=True)
class Var(Pattern):
    """A hole. The same name twice must be the same value; `const` asks for a constant."""

    name: str
    const: bool = False

    @property
    def names(self) -> frozenset[str]:
        return frozenset([self.name])

    def match(self, value: Value, bound: Bindings, root: bool = False) -> Iterator[Bindings]:
        if self.const and not isinstance(value.op, Const):
            return
        if bound.get(self.name, value) == value:
            yield {**bound, self.name: value}


@dataclass(frozen=True)
class Number(Pattern):
    """A constant all of whose elements are this number."""

    number: float

    def match(self, value: Value, bound: Bindings, root: bool = False) -> Iterator[Bindings]:
        array = value.const
        if array is not None and array.size == 1 and np.all(array == self.number):
            yield bound


class P(Pattern):
    """An operation: an op to equal, or a class of ops, and a pattern for each operand.

    Inside a pattern an operation must have no other user, unless `shared`: a rewrite would compute it twice.
    """

    def __init__(self, op: Op | type[Op], *operands: Pattern, name: str = "", shared: bool = False):
        self.op = op
        self.operands = operands
        self.name = name
        self.shared = shared

    @property
    def names(self) -> frozenset[str]:
        return frozenset([self.name] if self.name else []).union(*(operand.names for operand in self.operands))

    @property
    def root_type(self) -> type[Op]:
        return self.op if isinstance(self.op, type) else type(self.op)

    def match(self, value: Value, bound: Bindings, root: bool = False) -> Iterator[Bindings]:
        if not (isinstance(value.op, self.op) if isinstance(self.op, type) else value.op == self.op):
            return
        if not root and not self.shared and not value.has_one_use:
            return
        if self.name:
            bound = {**bound, self.name: value}
        if not self.operands:
            yield bound
            return
        for operands in self._orders(value.inputs):
            yield from _match_all(self.operands, operands, bound)

    @property
    def depth(self) -> int:
        """How many operations deep the pattern reaches."""
        return 1 + max((operand.depth for operand in self.operands if isinstance(operand, P)), default=0)

    def _orders(self, operands: tuple[Value, ...]) -> Iterator[tuple[Value, ...]]:
        if len(operands) != len(self.operands):
            return
        yield operands
        if self.root_type.commutative and operands[0] != operands[1]:
            yield operands[::-1]


def _match_all(patterns: tuple[Pattern, ...], values: tuple[Value, ...], bound: Bindings) -> Iterator[Bindings]:
    if not patterns:
        yield bound
        return
    for so_far in patterns[0].match(values[0], bound):
        yield from _match_all(patterns[1:], values[1:], so_far)


def _lift(operand: Pattern | float) -> Pattern:
    return operand if isinstance(operand, Pattern) else Number(operand)
