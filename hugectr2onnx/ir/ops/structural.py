"""Inputs, constants and the output sink: with these every value has a producer and every output is an ordinary use."""

from __future__ import annotations

from dataclasses import dataclass, field

from hugectr2onnx.ir.op import Emitter, Op
from hugectr2onnx.ir.types import Array, DType, TensorType


@dataclass(frozen=True)
class Input(Op):
    """A tensor of the interface."""

    type: TensorType = field(repr=False)

    def infer(self) -> TensorType:
        return self.type


@dataclass(frozen=True, eq=False)
class Const(Op):
    """A constant, compared by identity: nothing copies, prints, hashes or folds a table."""

    array: Array = field(repr=False)

    __eq__ = object.__eq__
    __hash__ = object.__hash__

    def infer(self) -> TensorType:
        return TensorType(DType.of(self.array), self.array.shape)

    def evaluate(self) -> Array:
        return self.array


@dataclass(frozen=True)
class Outputs(Op):
    """The sink whose operands are the outputs of the interface."""

    names: tuple[str, ...]

    @property
    def mnemonic(self) -> str:
        """Errors speak of one output: "output reads its keys too"."""
        return "output"

    def infer(self, *types: TensorType) -> tuple[TensorType, ...]:
        return ()


@dataclass(frozen=True)
class Identity(Op):
    """The operand itself: what Dropout, Cast and copies come to at evaluation."""

    exact = True

    def infer(self, x: TensorType) -> TensorType:
        return x

    def evaluate(self, x: Array) -> Array:
        return x

    def emit(self, out: Emitter, x: str) -> str:
        return out.node("Identity", x)
