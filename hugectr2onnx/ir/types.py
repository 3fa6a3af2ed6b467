"""Tensor types: an element type and a shape whose dimensions are numbers or multiples of the batch."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from enum import Enum
from fractions import Fraction
from typing import Any

import numpy as np

from hugectr2onnx.errors import ShapeError
from hugectr2onnx.tables.array import Array as Array


class DType(Enum):
    """An element type; the value is how the IR text spells it."""

    F32 = "f32"
    I64 = "i64"
    I32 = "i32"
    I8 = "i8"
    U8 = "u8"
    BOOL = "bool"

    @property
    def numpy(self) -> np.dtype[Any]:
        return _NUMPY[self]

    @staticmethod
    def of(array: Array) -> DType:
        """Return the element type of an array; raises ShapeError for one that the IR does not have."""
        for dtype, candidate in _NUMPY.items():
            if candidate == array.dtype:
                return dtype
        raise ShapeError(f"arrays of {array.dtype} have no place in the IR")


_NUMPY: dict[DType, np.dtype[Any]] = {
    DType.F32: np.dtype(np.float32),
    DType.I64: np.dtype(np.int64),
    DType.I32: np.dtype(np.int32),
    DType.I8: np.dtype(np.int8),
    DType.U8: np.dtype(np.uint8),
    DType.BOOL: np.dtype(np.bool_),
}


@dataclass(frozen=True, slots=True)
class Batch:
    """`factor * N`, N being the batch: layers fold slots into it (26N) and samples together (N/2)."""

    factor: Fraction = Fraction(1)

    def __str__(self) -> str:
        top, bottom = self.factor.numerator, self.factor.denominator
        return f"{top if top != 1 else ''}N{f'/{bottom}' if bottom != 1 else ''}"

    def at(self, batch: int) -> int:
        """Return the length at a batch size; raises ShapeError where it is not whole."""
        length = self.factor * batch
        if length.denominator != 1:
            raise ShapeError(f"{self} is not a whole number at a batch of {batch}")
        return length.numerator


class Width(int):
    """A dimension that the caller of the model chooses for each request; its value is the largest that training saw.

    It is a symbol in the ONNX model. As a number it serves where a size is estimated; no op may count on it.
    """

    name: str

    def __new__(cls, largest: int, name: str) -> Width:
        width = super().__new__(cls, largest)
        width.name = name
        return width

    def __str__(self) -> str:
        return self.name

    __repr__ = __str__


Dim = int | Batch
N = Batch()


def scale(dim: Dim, factor: int | Fraction) -> Dim:
    """`factor * dim`; raises ShapeError if a plain number would not stay whole."""
    if isinstance(dim, Batch):
        return Batch(dim.factor * factor)
    length = Fraction(dim) * factor
    if length.denominator != 1:
        raise ShapeError(f"a dimension of {dim} cannot be divided by {1 / Fraction(factor)}")
    return length.numerator


def elements(shape: Iterable[Dim]) -> Dim:
    """Return the number of elements; raises ShapeError if two dimensions carry the batch."""
    count: Dim = 1
    for dim in shape:
        if isinstance(dim, Batch) and isinstance(count, Batch):
            raise ShapeError("two dimensions carry the batch, so the number of elements is no multiple of it")
        count = scale(dim, count) if isinstance(count, int) else scale(count, dim)  # type: ignore[arg-type]
    return count


@dataclass(frozen=True, slots=True)
class TensorType:
    """`f32[N, 13]`."""

    dtype: DType
    shape: tuple[Dim, ...]

    def __str__(self) -> str:
        return f"{self.dtype.value}[{', '.join(map(str, self.shape))}]"

    @property
    def rank(self) -> int:
        return len(self.shape)

    @property
    def elements(self) -> Dim:
        return elements(self.shape)

    def with_shape(self, *shape: Dim) -> TensorType:
        return TensorType(self.dtype, tuple(shape))

    def concrete(self, batch: int) -> tuple[int, ...]:
        """Return the shape at a batch size; raises ShapeError where a dimension is not whole."""
        return tuple(dim.at(batch) if isinstance(dim, Batch) else dim for dim in self.shape)


@dataclass(frozen=True, slots=True)
class Tensor:
    """An input or output of a model for a report: its name, and its type as text (`f32[N, 13]`)."""

    name: str
    type: str


def f32(*shape: Dim) -> TensorType:
    return TensorType(DType.F32, tuple(shape))


def i64(*shape: Dim) -> TensorType:
    return TensorType(DType.I64, tuple(shape))


def broadcast(*shapes: tuple[Dim, ...]) -> tuple[Dim, ...]:
    """numpy's broadcasting, over dimensions that may carry the batch."""
    rank = max(map(len, shapes))
    padded = [(1,) * (rank - len(shape)) + shape for shape in shapes]
    result: list[Dim] = []
    for dims in zip(*padded, strict=True):
        wide = {dim for dim in dims if dim != 1}
        if len(wide) > 1:
            spelled = " and ".join(str(list(map(str, shape))) for shape in shapes)
            raise ShapeError(f"shapes {spelled} do not broadcast")
        result.append(wide.pop() if wide else 1)
    return tuple(result)
