"""Matrix products with constant weights, which many passes fold constants into.

Folded weights are computed in float64 and rounded once; a pass declines where the result overflows float32.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from hugectr2onnx.ir.graph import Value
from hugectr2onnx.ir.op import Op
from hugectr2onnx.ir.ops.linear import Linear, MatMul
from hugectr2onnx.ir.types import Array


@dataclass(frozen=True)
class Product:
    """`activation(x @ weight + bias)`, weight [k, n] and bias [n] being constants; a MatMul has no bias."""

    value: Value
    activation: Op | None

    @staticmethod
    def of(value: Value) -> Product | None:
        """Return the product that computes a value, or None where none does, or none by a constant matrix."""
        op, operands = value.op, value.inputs
        if not isinstance(op, Linear | MatMul) or any(operand.const is None for operand in operands[1:]):
            return None
        if operands[1].type.rank != 2:
            return None
        return Product(value, op.activation if isinstance(op, Linear) else None)

    @property
    def x(self) -> Value:
        return self.value.inputs[0]

    @property
    def is_plain(self) -> bool:
        """Whether there is no activation."""
        return self.activation is None

    @property
    def shape(self) -> tuple[int, int]:
        """(k, n)"""
        k, n = self.value.inputs[1].type.shape
        assert isinstance(k, int)
        assert isinstance(n, int)
        return k, n

    @property
    def weight(self) -> Array:
        """In float64."""
        return exact(self.value.inputs[1])

    @property
    def bias(self) -> Array | None:
        """In float64."""
        return exact(self.value.inputs[2]) if len(self.value.inputs) > 2 else None

    def on(self, x: Value, weight: Array, bias: Array | None) -> Value | None:
        """Return the same with another operand and other weights, or None where those overflow."""
        return multiply(x, weight, bias, self.activation)


def multiply(x: Value, weight: Array, bias: Array | None = None, activation: Op | None = None) -> Value | None:
    """`activation(x @ weight + bias)` with the weights rounded to float32, or None where they overflow."""
    w, b = rounded(weight), None if bias is None else rounded(bias)
    if w is None or (b is None and bias is not None):
        return None
    if b is None and activation is None:
        return MatMul()(x, x.graph.const(w))
    b = np.zeros(w.shape[1:], np.float32) if b is None else b
    return Linear(activation)(x, x.graph.const(w), x.graph.const(b))


def exact(value: Value) -> Array:
    """Return a constant's contents in float64."""
    assert value.const is not None
    return value.const.astype(np.float64)


def rounded(array: Array) -> Array | None:
    """In float32, or None where an element is not finite there."""
    with np.errstate(all="ignore"):
        single = np.ascontiguousarray(array, np.float32)
    return single if np.isfinite(single).all() else None


def plus(a: Array | None, b: Array | None) -> Array | None:
    """Return the sum of two biases, None being no bias."""
    if a is None or b is None:
        return b if a is None else a
    return np.asarray(a + b)


def across_last(constant: Value, length: int) -> Array | None:
    """Return a constant that broadcasts along the last axis alone, as [length] in float64."""
    array = constant.const
    if array is None or array.size not in (1, length) or array.size != (array.shape or (1,))[-1]:
        return None
    return np.broadcast_to(array.reshape(-1).astype(np.float64), (length,))
