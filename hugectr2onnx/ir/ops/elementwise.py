"""Operations that work element by element, with numpy's broadcasting."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from hugectr2onnx.errors import ShapeError
from hugectr2onnx.ir.op import Emitter, Op
from hugectr2onnx.ir.types import Array, DType, TensorType, broadcast


@dataclass(frozen=True)
class Binary(Op):
    """`y = a (op) b`; a subclass names the ONNX operator and the numpy function."""

    onnx_name: ClassVar[str]
    function: ClassVar[Callable[..., Any]]
    result: ClassVar[DType | None] = None

    def infer(self, a: TensorType, b: TensorType) -> TensorType:
        if a.dtype != b.dtype:
            raise ShapeError(f"{self.mnemonic} of {a} and {b}: the element types differ")
        return TensorType(self.result or a.dtype, broadcast(a.shape, b.shape))

    def evaluate(self, a: Array, b: Array) -> Array:
        return np.asarray(type(self).function(a, b))

    def emit(self, out: Emitter, a: str, b: str) -> str:
        return out.node(self.onnx_name, a, b)


@dataclass(frozen=True)
class Add(Binary):
    """a + b"""

    commutative = True
    onnx_name = "Add"
    function = np.add


@dataclass(frozen=True)
class Sub(Binary):
    """a - b"""

    onnx_name = "Sub"
    function = np.subtract


@dataclass(frozen=True)
class Mul(Binary):
    """a * b"""

    commutative = True
    onnx_name = "Mul"
    function = np.multiply


@dataclass(frozen=True)
class Div(Binary):
    """a / b"""

    onnx_name = "Div"
    function = np.divide


@dataclass(frozen=True)
class Unary(Op):
    """`y = f(x)`; a subclass names the ONNX operator and gives the function."""

    onnx_name: ClassVar[str]

    def infer(self, x: TensorType) -> TensorType:
        return x

    def emit(self, out: Emitter, x: str) -> str:
        return out.node(self.onnx_name, x)


@dataclass(frozen=True)
class Relu(Unary):
    """max(x, 0)"""

    onnx_name = "Relu"

    def evaluate(self, x: Array) -> Array:
        return np.maximum(x, 0)


@dataclass(frozen=True)
class Sigmoid(Unary):
    """1 / (1 + exp(-x)), written so that it cannot overflow."""

    onnx_name = "Sigmoid"

    def evaluate(self, x: Array) -> Array:
        decay = np.exp(-np.abs(x))
        return np.asarray(np.where(x >= 0, 1 / (1 + decay), decay / (1 + decay)))


@dataclass(frozen=True)
class Sqrt(Unary):
    """The square root."""

    onnx_name = "Sqrt"

    def evaluate(self, x: Array) -> Array:
        return np.asarray(np.sqrt(x))


@dataclass(frozen=True)
class Elu(Op):
    """x where x >= 0, else alpha * (exp(x) - 1)"""

    alpha: float = 1.0

    def infer(self, x: TensorType) -> TensorType:
        return x

    def evaluate(self, x: Array) -> Array:
        return np.asarray(np.where(x < 0, x.dtype.type(self.alpha) * np.expm1(np.minimum(x, 0)), x))

    def emit(self, out: Emitter, x: str) -> str:
        return out.node("Elu", x, alpha=self.alpha)
