"""The operators that values and pattern variables share: one vocabulary builds operations and matches them."""

from __future__ import annotations

from typing import Any, Self

from hugectr2onnx.ir.op import Op
from hugectr2onnx.ir.ops.elementwise import Add, Div, Mul, Sub
from hugectr2onnx.ir.ops.linear import MatMul


class Operators:
    """`+ - * / @` in terms of `build(op, *operands)` and `lift(number)`."""

    __slots__ = ()

    def build(self, op: Op, *operands: Any) -> Any:
        raise NotImplementedError

    def lift(self, scalar: float) -> Any:
        raise NotImplementedError

    def _operand(self, other: Any) -> Any:
        return other if isinstance(other, Operators) else self.lift(other)

    def __add__(self, other: Self | float) -> Self:
        result: Self = self.build(Add(), self, self._operand(other))
        return result

    def __sub__(self, other: Self | float) -> Self:
        result: Self = self.build(Sub(), self, self._operand(other))
        return result

    def __rsub__(self, other: float) -> Self:
        result: Self = self._operand(other) - self
        return result

    def __mul__(self, other: Self | float) -> Self:
        result: Self = self.build(Mul(), self, self._operand(other))
        return result

    def __truediv__(self, other: Self | float) -> Self:
        result: Self = self.build(Div(), self, self._operand(other))
        return result

    def __matmul__(self, other: Self) -> Self:
        result: Self = self.build(MatMul(), self, other)
        return result

    __radd__ = __add__
    __rmul__ = __mul__
