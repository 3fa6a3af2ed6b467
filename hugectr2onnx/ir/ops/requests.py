"""Turn a client's request into what the layers take: the forms "csr" and "hugectr" of a model's interface.

In compressed sparse rows (CSR) a sparse input of S slots is all its keys, i64[K], and the place where the keys of each slot of
each sample begin, i64[N * S + 1], the last of which is K. HugeCTR's inference backend joins those of all tables.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from hugectr2onnx.errors import ShapeError
from hugectr2onnx.ir.op import Emitter, Op
from hugectr2onnx.ir.types import Array, DType, N, TensorType, Width, f32, i64


@dataclass(frozen=True)
class RequestOp(Op):
    """An operation between the inputs of a model and its layers, which can also be undone, to make requests."""

    def invert(self, *results: Array) -> tuple[Array, ...]:
        """Return operands that give these results."""
        raise NotImplementedError


@dataclass(frozen=True)
class PadKeys(RequestOp):
    """i64[K] keys and i64[N * slots + 1] offsets -> i64[N, slots, nnz] keys, nnz being that of the fullest slot.

    It states what the form means; `passes.lookups.flatten_keys` takes it out of every model, so that nothing is padded.
    """

    exact = True
    slots: int
    largest: int
    """The largest nnz of training."""
    name: str
    padding_key: int | None = None

    @property
    def padding(self) -> int:
        return -1 if self.padding_key is None else self.padding_key

    def infer(self, keys: TensorType, offsets: TensorType) -> TensorType:
        for given in (keys, offsets):
            if given.dtype is not DType.I64 or given.rank != 1:
                raise ShapeError(f"keys and their offsets must be i64 vectors, not {keys} and {offsets}")
        return i64(N, self.slots, Width(self.largest, f"nnz_{self.name}"))

    def evaluate(self, keys: Array, offsets: Array) -> Array:
        counts = np.diff(offsets)
        padded = np.full((len(counts), max(1, counts.max(initial=0))), self.padding, np.int64)
        padded[np.arange(padded.shape[1]) < counts[:, None]] = keys
        return padded.reshape(-1, self.slots, padded.shape[1])

    def invert(self, *results: Array) -> tuple[Array, ...]:
        """Padding behind the last key of a slot is left out; what stands between keys is sent."""
        rows = results[0].reshape(-1, results[0].shape[-1])
        present = rows >= 0 if self.padding_key is None else rows != self.padding_key
        counts = np.where(present.any(1), rows.shape[1] - present[:, ::-1].argmax(1), 0)
        keys = rows[np.arange(rows.shape[1]) < counts[:, None]]
        return keys, np.concatenate([[0], np.cumsum(counts)]).astype(np.int64)

    def send_whole(self, padded: Array) -> tuple[Array, Array]:
        """Return operands in which every place of the padded keys is a key, padding too."""
        width = padded.shape[-1]
        return padded.reshape(-1), np.arange(0, padded.size + 1, width, dtype=np.int64)


@dataclass(frozen=True)
class SplitTables(RequestOp):
    """i64 keys of all tables and i32 offsets of all tables -> keys and offsets of each: two results a table.

    Every table has N * slots + 1 offsets, from 0 on, one table after the other. N follows from how many there are.
    """

    exact = True
    slots: tuple[int, ...]
    names: tuple[str, ...]

    def infer(self, keys: TensorType, offsets: TensorType) -> tuple[TensorType, ...]:
        if keys.dtype is not DType.I64 or offsets.dtype is not DType.I32 or keys.rank != 1 or offsets.rank != 1:
            raise ShapeError(f"all keys must be an i64 vector and all offsets an i32 vector, not {keys} and {offsets}")
        return tuple(each for name in self.names for each in csr_types(name))

    def evaluate(self, keys: Array, offsets: Array) -> tuple[Array, ...]:
        batch = (len(offsets) - len(self.slots)) // sum(self.slots)
        results: list[Array] = []
        bounds = np.cumsum([0, *(batch * slots + 1 for slots in self.slots)])
        first = 0
        for start, end in pairwise(bounds):
            own = offsets[start:end].astype(np.int64)
            results += [keys[first : first + own[-1]], own]
            first += int(own[-1])
        return tuple(results)

    def invert(self, *results: Array) -> tuple[Array, ...]:
        return np.concatenate(results[::2]), np.concatenate(results[1::2]).astype(np.int32)

    def emit(self, out: Emitter, keys: str, offsets: str) -> tuple[str, ...]:
        axis = out.const([0], "i64")
        wide = out.node("Cast", offsets, to=DType.I64)
        entries = out.node("Sub", out.node("Shape", offsets), out.const([len(self.slots)], "i64"))
        batch = out.node("Div", entries, out.const([sum(self.slots)], "i64"))
        at, first = axis, axis
        results: list[str] = []
        for slots in self.slots:
            length = out.node("Add", out.node("Mul", batch, out.const([slots], "i64")), out.const([1], "i64"))
            end = out.node("Add", at, length)
            own = out.node("Slice", wide, at, end, axis)
            last = out.node("Gather", own, out.const([-1], "i64"), axis=0)
            behind = out.node("Add", first, last)
            results += [out.node("Slice", keys, first, behind, axis), own]
            at, first = end, behind
        return tuple(results)


@dataclass(frozen=True)
class SplitSamples(RequestOp):
    """f32[N * width] -> f32[N, width]"""

    exact = True
    width: int

    def infer(self, x: TensorType) -> TensorType:
        if x.dtype is not DType.F32 or x.rank != 1:
            raise ShapeError(f"the numbers of all samples must be an f32 vector, not {x}")
        return f32(N, self.width)

    def evaluate(self, x: Array) -> Array:
        return x.reshape(-1, self.width)

    def invert(self, *results: Array) -> tuple[Array, ...]:
        return (results[0].reshape(-1),)

    def emit(self, out: Emitter, x: str) -> str:
        return out.node("Reshape", x, out.const([-1, self.width], "i64"))


def csr_types(name: str) -> tuple[TensorType, TensorType]:
    """Return the types of the keys and the offsets of one sparse input; both lengths are the client's."""
    return i64(Width(1, f"keys_{name}")), i64(Width(1, f"offsets_{name}"))
