"""The rows of a table that left its model, streamed as a store keeps them: no table is ever held in memory."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from hugectr2onnx.passes.lookups.fetch_rows import FetchedTable
from hugectr2onnx.stores.record import TableRecord, encode
from hugectr2onnx.tables import paging
from hugectr2onnx.tables.array import Array
from hugectr2onnx.tables.key_index import KeyColumn, column

_CHUNK_BYTES = 4 << 20

Chunk = tuple[Array, Array]
"""Keys int64 [n] and their stored rows uint8 [n, row_bytes]."""


@dataclass(frozen=True, eq=False)
class TableRows:
    """The rows of a table, or of one GPU of a table whose rows depend on the slot."""

    source: FetchedTable
    gpu: int | None = None

    @property
    def name(self) -> str:
        return self.source.name if self.gpu is None else f"{self.source.name}@{self.gpu}"

    @cached_property
    def record(self) -> TableRecord:
        """Its row in the record of a version, the count of its rows included: one pass over the keys."""
        rows = sum(
            int(self._taken(slice(at, at + paging.CHUNK_BYTES)).sum()) for at in self._starts(paging.CHUNK_BYTES)
        )
        width, default = int(self.source.vectors.shape[1]), float(self.source.default)
        return TableRecord(self.name, rows, width, self.source.row_format.name, default)

    def chunks(self) -> Iterator[Chunk]:
        """Yield all rows in the order of the file."""
        start = 0
        for rows in paging.chunks(self.source.vectors, _CHUNK_BYTES):
            stretch = slice(start, start + len(rows))
            taken = self._taken(stretch)
            yield np.asarray(self.source.keys[stretch])[taken], encode(self.record, np.asarray(rows)[taken])
            start += len(rows)

    def sorted_chunks(self) -> Iterator[Chunk]:
        """Yield all rows in the order of their keys; the order takes 16 bytes of memory a row."""
        keys = np.asarray(self.source.keys)
        (rows,) = np.nonzero(self._taken(slice(None)))
        rows = rows[np.argsort(keys[rows], kind="stable")]
        step = max(1, _CHUNK_BYTES // self.record.row_bytes)
        for start in range(0, len(rows), step):
            own = rows[start : start + step]
            yield keys[own], encode(self.record, paging.take(self.source.vectors, own))

    def look_up(self, keys: Array) -> Array:
        """float32 rows of keys as the model means them, the default vector for those that the table lacks."""
        numbers = self._row_numbers(keys)
        found = np.full((len(keys), self.record.width), self.source.default, np.float32)
        known = numbers >= 0
        found[known] = paging.take(self.source.vectors, numbers[known])
        return self.source.row_format.round_trip(found)

    def _row_numbers(self, keys: Array) -> Array:
        if self.gpu is None:
            return column(self.source.keys).index.rows(keys)
        rows, index = self._own
        numbers = index.index.rows(keys)
        return np.where(numbers >= 0, rows[numbers] if len(rows) else -1, -1)

    @cached_property
    def _own(self) -> tuple[Array, KeyColumn]:
        """The row numbers of one GPU, and their keys."""
        rows = np.flatnonzero(self._taken(slice(None)))
        own = np.asarray(self.source.keys)[rows].view(KeyColumn)
        own.signed = column(self.source.keys).signed
        return rows, own

    def _taken(self, stretch: slice) -> Array:
        """Tell which rows can be asked for: negative keys are padding, unless all numbers are keys."""
        keys = np.asarray(self.source.keys[stretch])
        taken = np.ones(len(keys), bool) if column(self.source.keys).signed else keys >= 0
        if self.gpu is not None:
            assert self.source.slot_ids is not None
            taken &= np.asarray(self.source.slot_ids[stretch]) % self.source.n_gpus == self.gpu
        return taken

    def _starts(self, step: int) -> range:
        return range(0, len(self.source.keys), step)


def rows_of(table: FetchedTable) -> tuple[TableRows, ...]:
    """Return the rows of a table, one part for each GPU where the slot decides which row a key means."""
    if table.n_gpus == 1:
        return (TableRows(table),)
    return tuple(TableRows(table, gpu) for gpu in range(table.n_gpus))
