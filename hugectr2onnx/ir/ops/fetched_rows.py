"""Look-ups whose rows come in with each request: a table that lives elsewhere sends only what the request asks for.

A request holds the rows of its different keys, f32[R, vec], and for each key its place among them, i64[N, slot, nnz]. A
negative place is padding. Everything behind the gather is that of a look-up in a table, so that the same numbers come out.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from hugectr2onnx.errors import ShapeError
from hugectr2onnx.ir.op import Emitter
from hugectr2onnx.ir.ops.key_maps import rank3
from hugectr2onnx.ir.ops.lookup import Lookup
from hugectr2onnx.ir.ops.pooling import emit_apart, emit_count, emit_pool
from hugectr2onnx.ir.ops.stored_rows import StoredRows
from hugectr2onnx.ir.types import Array, DType, TensorType, f32


@dataclass(frozen=True)
class FetchedLookup(Lookup):
    """Rows by place, pooled over the keys of a slot. Unknown keys have the default vector as their row."""

    fast: bool = field(default=True, kw_only=True)
    """Whether the rows are pooled as look-ups with a key map do it; if not, by one gather and one reduction."""

    def infer(self, places: TensorType, rows: TensorType) -> TensorType:
        if places.dtype is not DType.I64 or places.rank != 3 or rows.dtype is not DType.F32 or rows.rank != 2:
            raise ShapeError(f"places must be i64[N, slot, max_nnz] and rows f32[R, vec], not {places} and {rows}")
        return f32(*places.shape[:2], *([1] if self.apart else []), rows.shape[1])

    def evaluate(self, places: Array, rows: Array) -> Array:
        present = places >= 0
        gathered = np.zeros((*places.shape, rows.shape[1]), rows.dtype)
        gathered[present] = rows[places[present]]
        total = gathered.sum(2)
        count = np.maximum(present.sum(2)[..., None], 1)
        pooled = np.asarray(total / count if self.combiner == "mean" else total)
        return pooled[:, :, None] if self.apart else pooled

    def emit(self, out: Emitter, places: str, rows: str) -> str:
        width = out.type(rows).shape[1]
        assert isinstance(width, int)
        # Padding reads the last row. It is added here, so that no client can forget it.
        table = out.node("Concat", rows, out.const(np.zeros((1, width))), axis=0)
        numbers = out.node("Max", places, rank3(out, -1))
        if not self.fast:
            return self._emit_plain(out, places, out.node("Gather", table, numbers, axis=0), width)
        if width == 1:
            table = out.node("Reshape", table, out.const([-1], "i64"))
        # The steps behind the gather are those of the format, though the rows come decoded: the same sums round alike.
        fetched = FetchedRows(table, None, self.row_format, width, width > 1 and self.row_format.is_fused)
        return emit_pool(out, places, numbers, fetched, width, mean=self.combiner == "mean", apart=self.apart)

    def _emit_plain(self, out: Emitter, places: str, gathered: str, width: int) -> str:
        total = out.node("ReduceSum", gathered, out.const([2], "i64"), keepdims=0)
        pooled = out.node("Div", total, emit_count(out, places)) if self.combiner == "mean" else total
        return emit_apart(out, pooled, out.type(places), width) if self.apart else pooled


@dataclass(frozen=True)
class FetchedRows(StoredRows):
    """Rows that come in as float32, gathered in the shapes of the format that the store keeps them in."""

    def _emit_floats(self, out: Emitter, rows: str) -> str:
        return out.node("Gather", self.numbers, rows, axis=0)

    def _emit_flat(self, out: Emitter, flat: str) -> str:
        return out.node("Gather", self.numbers, flat, axis=0)
