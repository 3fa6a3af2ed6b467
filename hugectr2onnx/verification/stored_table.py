"""A table as an ONNX file stores it: rows of float32, of float16, or of int8 with a scale each."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from onnx import numpy_helper

from hugectr2onnx.backend.onnx.artifact import Artifact
from hugectr2onnx.ir.types import Array
from hugectr2onnx.tables import paging
from hugectr2onnx.tables.row_format import FORMATS, RowFormat
from hugectr2onnx.verification.traced_lookups import TracedLookup


@dataclass(frozen=True, eq=False)
class StoredTable:
    """`numbers` [rows, width] and, with int8, `scales` [rows, 1].

    A stored row is passed around as bytes, uint8 [n, row_bytes]: its numbers, then its scale.
    """

    numbers: Array
    scales: Array | None
    format: RowFormat

    def __len__(self) -> int:
        return len(self.numbers)

    @property
    def width(self) -> int:
        return int(self.numbers.shape[1])

    @property
    def row_bytes(self) -> int:
        return self.format.row_bytes(self.width)

    @property
    def nbytes(self) -> int:
        return len(self) * self.row_bytes

    def rows(self, rows: slice) -> Array:
        """Return a stretch of rows."""
        return _joined(_read(self.numbers[rows]), _read(self.scales[rows]) if self.scales is not None else None)

    def take(self, numbers: Array) -> Array:
        """Return rows by number, from 0 on."""
        scales = np.asarray(self.scales[numbers]) if self.scales is not None else None
        return _joined(paging.take(self.numbers, numbers), scales)

    def chunks(self, size: int) -> Iterator[Array]:
        """Return all rows in order."""
        step = max(1, size // self.row_bytes)
        return (self.rows(slice(at, at + step)) for at in range(0, len(self), step))

    def encode(self, rows: Array) -> Array:
        """float32 rows [n, width] as the file stores them."""
        return _joined(self.format.encode(rows), self.format.scales(rows))

    def decode(self, stored: Array) -> Array:
        """float32 rows from stored ones."""
        numbers, scales = stored, None
        if self.format.has_scales:
            numbers, tail = stored[:, : self.width], stored[:, self.width :]
            scales = np.ascontiguousarray(tail).view("<f4")
        dtype = self.format.dtype.newbyteorder("<")
        return self.format.decode(np.ascontiguousarray(numbers).view(dtype).reshape(len(stored), self.width), scales)


def stored_table(artifact: Artifact, lookup: TracedLookup) -> StoredTable:
    """Return the table that answers a look-up; external data is mapped, not read."""
    numbers = tensor_of(artifact, lookup.tensor)
    scales = tensor_of(artifact, lookup.scales) if lookup.scales is not None else None
    format = next(format for format in FORMATS if format.dtype == numbers.dtype)
    return StoredTable(_columns(numbers), None if scales is None else _columns(scales), format)


def tensor_of(artifact: Artifact, name: str) -> Array:
    """Return an initializer of a file by name."""
    if name in artifact.tensors:
        return artifact.tensors[name].materialise()
    tensor = next(each for each in artifact.skeleton.graph.initializer if each.name == name)
    return numpy_helper.to_array(tensor)


def _columns(array: Array) -> Array:
    return array if array.ndim == 2 else array.reshape(len(array), -1)


def _read(chunk: Array) -> Array:
    read = paging.buffer(chunk.shape, chunk.dtype)
    paging.read(chunk, read)
    return read


def _joined(numbers: Array, scales: Array | None) -> Array:
    parts = [_bytes(numbers)] if scales is None else [_bytes(numbers), _bytes(scales)]
    return parts[0] if len(parts) == 1 else np.concatenate(parts, axis=1)


def _bytes(rows: Array) -> Array:
    """uint8 [n, bytes of a row], little-endian."""
    little = np.ascontiguousarray(rows, rows.dtype.newbyteorder("<"))
    return little.view(np.uint8).reshape(len(rows), rows.shape[1] * rows.itemsize)
