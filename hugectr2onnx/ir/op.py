"""`Op`: the card that every operation fills in.

An op is a frozen dataclass whose fields are its attributes, so it is equal by value, hashable and usable in `match`.
`infer` says which types come out, `evaluate` is the one statement of what it means (constant folding, the reference
interpreter and the property tests all use it) and `emit` writes it as ONNX.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields
from typing import Any, ClassVar, Protocol, TypeVar

from hugectr2onnx.ir.types import Array, DType, TensorType
from hugectr2onnx.tables.gathered import TensorData

Built = TypeVar("Built", covariant=True)


class Builder(Protocol[Built]):
    """An operand that can build operations: a value of a graph, or a pattern variable."""

    def build(self, op: Op, *operands: Any) -> Built:
        """Return the operation on some operands, of which this is the first."""


class Emitter(Protocol):
    """The writer of ONNX as ops see it (`backend.onnx.emitter`). Tensors are known by name."""

    def node(self, op_type: str, *inputs: str, domain: str = "", **attributes: Any) -> str:
        """Append a node with one output and return the output's name."""

    def nodes(self, op_type: str, *inputs: str, outputs: int, domain: str = "", **attributes: Any) -> list[str]:
        """Append a node with several outputs and return their names."""

    def loop(
        self,
        condition: str,
        carried: Sequence[tuple[str, DType]],
        body: Callable[[Sequence[str]], tuple[str, Sequence[str]]],
    ) -> list[str]:
        """Append a Loop that runs while a condition holds and return the names of what it carried from turn to turn.

        body: writes one turn for the names of what is carried, and returns those of the next condition and of the next values.
        """

    @property
    def opset(self) -> int:
        """The version of the default ONNX domain that is written."""

    def const(self, value: Any, dtype: str = "f32") -> str:
        """Return a small constant, stored once; `dtype` is `f32`, `i64` or `bool`."""

    def stacked(self, name: str, *parts: TensorData) -> str:
        """Return a constant made of arrays laid on top of one another, streamed and never joined in memory."""

    def array(self, name: str) -> Array:
        """Return the contents of a constant operand; it then need not appear in the model as a tensor."""

    def type(self, name: str) -> TensorType:
        """Return the type of an operand."""


@dataclass(frozen=True)
class Op:
    """One operation. Subclasses are frozen dataclasses in `ir/ops`."""

    commutative: ClassVar[bool] = False
    """Whether the two operands may change places."""
    exact: ClassVar[bool] = False
    """Whether it only moves data, so that folding it rounds nothing."""
    least_opset: ClassVar[int] = 17
    """The oldest version of the default ONNX domain that has what `emit` writes."""

    # The three take the operands one by one; `Any` lets each op name its own.

    def infer(self, *types: Any, **_: Any) -> TensorType | tuple[TensorType, ...]:
        """Return the types that come out for operand TensorTypes; raises ShapeError that names them."""
        raise NotImplementedError

    def evaluate(self, *arrays: Any, **_: Any) -> Array | tuple[Array, ...]:
        """Return the meaning, in the precision of the operand arrays."""
        raise NotImplementedError

    def emit(self, out: Emitter, *names: Any, **_: Any) -> str | tuple[str, ...]:
        """Write the ONNX expansion for operand names and return the names of the results."""
        raise NotImplementedError

    @property
    def mnemonic(self) -> str:
        """The name in IR text."""
        return "".join(f"_{c.lower()}" if c.isupper() else c for c in type(self).__name__).lstrip("_")

    def attributes(self) -> dict[str, Any]:
        """Return the attributes that differ from their defaults, for IR text."""
        pairs = ((field, getattr(self, field.name)) for field in fields(self) if field.repr)
        return {field.name: value for field, value in pairs if value != field.default}

    def __call__(self, *operands: Builder[Built]) -> Built:
        """Build the operation on values (in their graph) or on pattern variables (as a pattern)."""
        return operands[0].build(self, *operands)
