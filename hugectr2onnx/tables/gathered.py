"""Rows of a mapped table in another order or number format, worked out chunk by chunk when they are written."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np

from hugectr2onnx.tables import paging
from hugectr2onnx.tables.array import Array
from hugectr2onnx.tables.row_format import FP32, RowFormat
from hugectr2onnx.tables.vectors import CACHED_BYTES

_GATHERED_BYTES = 1 << 22


@dataclass(frozen=True, eq=False)
class Gathered:
    """`source[order[i]]`, and rows full of `fill` where `order[i]` is negative. It stands for an array of that shape.

    The rows come out as `format` stores them; `row_bytes` are those of the source. `keys`: where `order` comes from, so that
    the row of key k is number `k - low`.
    """

    source: Array
    order: Array
    fill: float = 0.0
    format: RowFormat = FP32
    keys: Array | None = None
    low: int = 0

    @property
    def shape(self) -> tuple[int, ...]:
        return (len(self.order), *self.source.shape[1:])

    @property
    def dtype(self) -> np.dtype[np.generic]:
        return self.source.dtype if self.format.is_exact else self.format.dtype

    @property
    def stored_row_bytes(self) -> int:
        return self.dtype.itemsize * int(np.prod(self.source.shape[1:]))

    @property
    def stored_fill(self) -> float:
        """The number that rows full of `fill` are stored as."""
        return float(self.format.encode(np.full(1, self.fill, np.float32))[0])

    @property
    def row_bytes(self) -> int:
        return self.source.dtype.itemsize * int(np.prod(self.source.shape[1:]))

    @property
    def nbytes(self) -> int:
        return len(self.order) * self.stored_row_bytes

    @property
    def ndim(self) -> int:
        return self.source.ndim

    def reshape(self, *shape: int) -> Gathered:
        """Return the same rows of one number as numbers: only `reshape(-1)` of a table of one column."""
        return replace(self, source=self.source.reshape(*shape))

    def places(self, rows: slice | Array) -> Array:
        """Tell where some rows of the source go, negative for nowhere; a row of the source goes to one place at most."""
        if self.keys is None:
            return self._inverse[rows]
        keys = np.asarray(self.keys)[rows]
        return (paging.guarded(keys) if isinstance(rows, slice) else keys) - self.low

    def forget(self, rows: slice) -> None:
        """Give back the pages of a stretch of the source, and of its keys."""
        paging.forget(self.source[rows])
        if self.keys is not None:
            paging.forget(self.keys[rows])

    @cached_property
    def _inverse(self) -> Array:
        places = np.full(len(self.source), -1, np.int64)
        (present,) = np.nonzero(self.order >= 0)
        places[self.order[present]] = present
        return places

    def __len__(self) -> int:
        return len(self.order)

    def __getitem__(self, rows: slice) -> Array:
        """Return a stretch of its rows, as an array of their own."""
        return self.take(self.order[rows])

    def rows(self, numbers: Array) -> Array:
        """Return rows from anywhere."""
        order = self.order[numbers]
        if not len(self.source):
            return self.take(order)
        found = paging.take(self.source, np.maximum(order, 0))
        found[order < 0] = self.fill
        return self.format.encode(found)

    def take(self, order: Array, out: Array | None = None) -> Array:
        """Return rows of the source by number, `fill` for negative ones; in `out`, where it is given and that is possible."""
        return self.format.encode(self._take(order, out))

    def _take(self, order: Array, out: Array | None) -> Array:
        if not len(self.source):
            return np.full((len(order), *self.source.shape[1:]), self.fill, self.source.dtype)
        # Fancy indexing is four times slower, but `take` would first copy a source that has gaps.
        compact = self.source.flags.c_contiguous
        source = np.asarray(self.source)
        rows: Array = source.take(order, axis=0, out=out, mode="clip") if compact else source[np.maximum(order, 0)]
        if order.size and order.min() < 0:
            rows[order < 0] = self.fill
        return rows

    def chunks(self, size: int = _GATHERED_BYTES) -> Iterator[Array]:
        """Return all rows in order, some bytes at a time."""
        step = max(1, size // max(1, self.row_bytes))
        return (self[start : start + step] for start in range(0, len(self), step))


@dataclass(frozen=True, eq=False)
class Converted:
    """The rows of a table as `format` stores them, in the table's order."""

    source: Array
    format: RowFormat

    @property
    def shape(self) -> tuple[int, ...]:
        return self.source.shape

    @property
    def dtype(self) -> np.dtype[np.generic]:
        return self.format.dtype

    @property
    def nbytes(self) -> int:
        return self.dtype.itemsize * self.source.size

    @property
    def ndim(self) -> int:
        return self.source.ndim

    def reshape(self, *shape: int) -> Converted:
        """Return the same rows of one number as numbers: only `reshape(-1)` of a table of one column."""
        return replace(self, source=self.source.reshape(*shape))

    def __len__(self) -> int:
        return len(self.source)

    def __getitem__(self, rows: slice) -> Array:
        """Return a stretch of its rows, as an array of their own."""
        return self.format.encode(paging.guarded(np.asarray(self.source)[rows]))

    def rows(self, numbers: Array) -> Array:
        """Return rows from anywhere."""
        return self.format.encode(paging.take(self.source, numbers))

    def chunks(self, size: int = CACHED_BYTES) -> Iterator[Array]:
        """Yield all rows in order, from so many bytes of the source at a time."""
        for chunk in paging.chunks(self.source, size):
            yield self.format.encode(np.asarray(chunk))


def convert(part: TensorData, format: RowFormat) -> TensorData:
    """Return the rows as a format stores them."""
    if format.is_exact:
        return part
    if isinstance(part, Converted | Gathered):
        return replace(part, format=format)
    return Converted(part, format)


TensorData = Array | Gathered | Converted
"""What a tensor may be made of: arrays, memory maps among them, and rows that are worked out as they are written."""
