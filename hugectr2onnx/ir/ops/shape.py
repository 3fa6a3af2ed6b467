"""Operations that only move data."""

from __future__ import annotations

from dataclasses import dataclass
from functools import reduce

import numpy as np

from hugectr2onnx.errors import ShapeError
from hugectr2onnx.ir.op import Emitter, Op
from hugectr2onnx.ir.types import Array, Batch, Dim, TensorType, elements, scale


@dataclass(frozen=True)
class Reshape(Op):
    """The same row-major buffer under another shape, one dimension of which may carry the batch."""

    exact = True
    shape: tuple[Dim, ...]

    def infer(self, x: TensorType) -> TensorType:
        if x.elements != elements(self.shape):
            raise ShapeError(f"{x} has {x.elements} elements and cannot become {x.with_shape(*self.shape)}")
        return x.with_shape(*self.shape)

    @property
    def target(self) -> list[int]:
        """The shape as ONNX and numpy take it: -1 for the dimension that carries the batch."""
        return [-1 if isinstance(dim, Batch) else dim for dim in self.shape]

    def evaluate(self, x: Array) -> Array:
        return x.reshape(self.target)

    def emit(self, out: Emitter, x: str) -> str:
        return out.node("Reshape", x, out.const(self.target, "i64"))


@dataclass(frozen=True)
class Transpose(Op):
    """The axes in another order."""

    exact = True
    perm: tuple[int, ...]

    def infer(self, x: TensorType) -> TensorType:
        if sorted(self.perm) != list(range(x.rank)):
            raise ShapeError(f"{x} cannot be transposed by {list(self.perm)}")
        return x.with_shape(*(x.shape[axis] for axis in self.perm))

    def evaluate(self, x: Array) -> Array:
        return x.transpose(self.perm)

    def emit(self, out: Emitter, x: str) -> str:
        return out.node("Transpose", x, perm=list(self.perm))


@dataclass(frozen=True)
class Concat(Op):
    """Join along one axis."""

    exact = True
    axis: int

    def infer(self, *xs: TensorType) -> TensorType:
        first, axis = xs[0], self.axis
        if not 0 <= axis < first.rank or any(_without(x, axis) != _without(first, axis) for x in xs):
            raise ShapeError(f"{', '.join(map(str, xs))} cannot be joined along axis {axis}")
        joined = reduce(_sum, (x.shape[axis] for x in xs))
        return first.with_shape(*first.shape[:axis], joined, *first.shape[axis + 1 :])

    def evaluate(self, *xs: Array) -> Array:
        return np.concatenate(xs, self.axis)

    def emit(self, out: Emitter, *xs: str) -> str:
        return out.node("Concat", *xs, axis=self.axis)


@dataclass(frozen=True)
class Slice(Op):
    """The half-open range [start, end) of one axis."""

    exact = True
    axis: int
    start: int
    end: int

    def infer(self, x: TensorType) -> TensorType:
        width = x.shape[self.axis] if 0 <= self.axis < x.rank else None
        if not isinstance(width, int):
            raise ShapeError(f"{x} has no axis {self.axis} of known length to slice")
        if not 0 <= self.start < self.end <= width:
            raise ShapeError(f"the range [{self.start}, {self.end}) does not lie within the {width} of {x}")
        return x.with_shape(*x.shape[: self.axis], self.end - self.start, *x.shape[self.axis + 1 :])

    def evaluate(self, x: Array) -> Array:
        return x[(slice(None),) * self.axis + (slice(self.start, self.end),)]

    def emit(self, out: Emitter, x: str) -> str:
        start, end, axis = (out.const([number], "i64") for number in (self.start, self.end, self.axis))
        return out.node("Slice", x, start, end, axis)


@dataclass(frozen=True)
class Take(Op):
    """The listed positions of one axis, in that order, repeats honoured."""

    exact = True
    axis: int
    indices: tuple[int, ...]

    def infer(self, x: TensorType) -> TensorType:
        length = x.shape[self.axis] if 0 <= self.axis < x.rank else None
        if length is None:
            raise ShapeError(f"{x} has no axis {self.axis}")
        limit = length if isinstance(length, int) else max(self.indices, default=-1) + 1
        if not self.indices or min(self.indices) < 0 or max(self.indices) >= limit:
            raise ShapeError(f"positions {list(self.indices)} cannot be taken from axis {self.axis} of {x}")
        return x.with_shape(*x.shape[: self.axis], len(self.indices), *x.shape[self.axis + 1 :])

    def evaluate(self, x: Array) -> Array:
        return np.take(x, self.indices, self.axis)

    def emit(self, out: Emitter, x: str) -> str:
        return out.node("Gather", x, out.const(list(self.indices), "i64"), axis=self.axis)


@dataclass(frozen=True)
class Repeat(Op):
    """Every position of one axis `factor` times in a row, as `numpy.repeat` does."""

    exact = True
    axis: int
    factor: int

    def infer(self, x: TensorType) -> TensorType:
        if not 0 <= self.axis < x.rank or self.factor < 1:
            raise ShapeError(f"axis {self.axis} of {x} cannot be repeated {self.factor} times")
        longer = scale(x.shape[self.axis], self.factor)
        return x.with_shape(*x.shape[: self.axis], longer, *x.shape[self.axis + 1 :])

    def evaluate(self, x: Array) -> Array:
        return np.repeat(x, self.factor, self.axis)

    def emit(self, out: Emitter, x: str) -> str:
        shape, after = out.type(x).shape, self.axis + 1
        apart = Reshape((*shape[:after], 1, *shape[after:])).emit(out, x)
        times = [1] * (len(shape) + 1)
        times[after] = self.factor
        tiled = out.node("Tile", apart, out.const(times, "i64"))
        return Reshape(self.infer(out.type(x)).shape).emit(out, tiled)


def _without(x: TensorType, axis: int) -> tuple[object, ...]:
    return (x.dtype, *x.shape[:axis], *x.shape[axis + 1 :])


def _sum(a: Dim, b: Dim) -> Dim:
    if isinstance(a, Batch) and isinstance(b, Batch):
        return Batch(a.factor + b.factor)
    if isinstance(a, Batch) or isinstance(b, Batch):
        raise ShapeError(f"{a} and {b} cannot be added: only one of them carries the batch")
    return a + b
