"""Split what NVIDIA's HPS hands on: the rows of a batch's look-ups in one vector, table by table (formats 6.2, 6.4)."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from hugectr2onnx.errors import ShapeError
from hugectr2onnx.ir.op import Emitter, Op
from hugectr2onnx.ir.types import Array, DType, N, TensorType, Width, f32, i64


@dataclass(frozen=True)
class Block:
    """The keys of one look-up: `nnz` places in each of its slots, rows of `width` numbers."""

    name: str
    slots: int
    nnz: int
    width: int

    @property
    def keys(self) -> int:
        """Keys of one sample, padding among them."""
        return self.slots * self.nnz


@dataclass(frozen=True)
class LookupBlocks(Op):
    """f32[L] rows and i64[1, K] keys -> for each block places i64[N, slots, nnz] and rows f32[N * slots * nnz, width].

    A place counts in the rows of its own block. Negative keys are padding: their place is -1, whatever row came for them.
    """

    exact = True
    blocks: tuple[Block, ...]

    def infer(self, vectors: TensorType, keys: TensorType) -> tuple[TensorType, ...]:
        if vectors.dtype is not DType.F32 or vectors.rank != 1 or keys.dtype is not DType.I64 or keys.rank != 2:
            raise ShapeError(f"rows must be an f32 vector and keys i64[1, K], not {vectors} and {keys}")
        types: list[TensorType] = []
        for block in self.blocks:
            types += [i64(N, block.slots, block.nnz), f32(Width(block.keys, f"rows_{block.name}"), block.width)]
        return tuple(types)

    def evaluate(self, vectors: Array, keys: Array) -> tuple[Array, ...]:
        flat = keys.reshape(-1)
        batch = len(flat) // sum(block.keys for block in self.blocks)
        results: list[Array] = []
        key, number = 0, 0
        for block in self.blocks:
            count = batch * block.keys
            places = np.where(flat[key : key + count] < 0, -1, np.arange(count))
            rows = vectors[number : number + count * block.width].reshape(count, block.width)
            results += [places.reshape(batch, block.slots, block.nnz), rows]
            key, number = key + count, number + count * block.width
        return tuple(results)

    def emit(self, out: Emitter, vectors: str, keys: str) -> tuple[str, ...]:
        axis, minus = out.const([0], "i64"), out.const([-1], "i64")
        flat = out.node("Reshape", keys, minus)
        batch = out.node("Div", out.node("Shape", flat), out.const([sum(b.keys for b in self.blocks)], "i64"))
        results: list[str] = []
        key, number = axis, axis
        for block in self.blocks:
            count = out.node("Mul", batch, out.const([block.keys], "i64"))
            key_end = out.node("Add", key, count)
            number_end = out.node("Add", number, out.node("Mul", count, out.const([block.width], "i64")))
            own = out.node("Slice", flat, key, key_end, axis)
            scalars = out.const(0, "i64"), out.node("Squeeze", count), out.const(1, "i64")
            places = out.node("Where", out.node("Less", own, axis), minus, out.node("Range", *scalars))
            rows = out.node("Slice", vectors, number, number_end, axis)
            results.append(out.node("Reshape", places, out.const([-1, block.slots, block.nnz], "i64")))
            results.append(out.node("Reshape", rows, out.const([-1, block.width], "i64")))
            key, number = key_end, number_end
        return tuple(results)
