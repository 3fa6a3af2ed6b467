"""From the keys of a table to its rows: worked out once for each table, shared by the reference and by what is emitted.

Keys of a narrow range get a row number for every number in the range (4 bytes each), any others a sorted copy and the
rows in that order (16 bytes a key).
"""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Protocol

import numpy as np

from hugectr2onnx.tables import paging
from hugectr2onnx.tables.array import Array

_SEARCHED_KEYS = 1 << 18
MAX_KEY = int(np.iinfo(np.int64).max)
"""The largest key, which HugeCTR reserves."""
MIN_KEY = -MAX_KEY - 1
SPREAD = 4
"""Numbers in the range for each key up to which a row number for every number is the smaller index."""
MAX_SMALL_RANGE = 1 << 16
"""Numbers in the range of keys that are never too many for a row number each."""
MAX_INT32_ROWS = 1 << 31
"""Row numbers up to this count fit into int32."""


class KeyIndex(Protocol):
    """Finds rows by key."""

    @property
    def unique(self) -> bool:
        """Whether no key of 0 and more stands twice; the rows of a key that does are any of its rows."""

    def rows(self, keys: Array) -> Array:
        """Return the row of each key, -1 where the table lacks it or the key is negative."""


class KeyColumn(np.ndarray[Any, Any]):
    """The keys of a table, int64 [n], with their index; a view, never a copy: `keys.view(KeyColumn)`."""

    signed = False
    """Whether negative numbers are keys like any other. If not, they are padding and can never be asked for."""

    @cached_property
    def index(self) -> KeyIndex:
        return build_index(self)

    @cached_property
    def low(self) -> int:
        """The smallest key that can be asked for, 0 where there is none."""
        return self._range[0]

    @cached_property
    def high(self) -> int:
        """The largest key that can be asked for, -1 where there is none."""
        return self._range[1]

    @cached_property
    def count(self) -> int:
        """How many keys can be asked for: all if `signed`, else those of 0 and more."""
        return self._range[2]

    @cached_property
    def _range(self) -> tuple[int, int, int]:
        low, high, count = MAX_KEY, -MAX_KEY - 1, 0
        for chunk in paging.chunks(np.asarray(self)):
            if not self.signed and chunk.min() < 0:
                chunk = chunk[chunk >= 0]
            if chunk.size:
                low, high, count = min(low, int(chunk.min())), max(high, int(chunk.max())), count + chunk.size
        return (low, high, count) if count else (0, -1, 0)


def column(keys: Array) -> KeyColumn:
    """Return the keys with their index, which is the same one each time where `keys` are a KeyColumn already."""
    return keys if isinstance(keys, KeyColumn) else np.asarray(keys).view(KeyColumn)


def signed_column(keys: Array) -> KeyColumn:
    """Return the keys with an index that takes negative numbers for keys like any other."""
    known = np.asarray(keys).view(KeyColumn)
    known.signed = True
    return known


def is_dense(keys: Array) -> bool:
    """Tell whether a row number for every number from the smallest to the largest key is the smaller index."""
    known = column(keys)
    return known.high - known.low + 1 <= max(SPREAD * known.count, MAX_SMALL_RANGE)


def build_index(keys: KeyColumn) -> KeyIndex:
    """Return the index that is the smaller for these keys."""
    return RangeIndex.of(keys) if is_dense(keys) else SortedIndex.of(keys)


@dataclass(frozen=True, eq=False)
class RangeIndex:
    """`table[key - low]` is the row, -1 where there is none."""

    low: int
    table: Array
    unique: bool

    @staticmethod
    def of(keys: KeyColumn) -> RangeIndex:
        table: Array = np.full(keys.high - keys.low + 1, -1, np.int32 if len(keys) < MAX_INT32_ROWS else np.int64)
        known, all_valid = np.asarray(keys), keys.count == len(keys)

        def enter(start: int) -> None:
            chunk = known[start : start + _SEARCHED_KEYS]
            rows = np.arange(start, start + len(chunk), dtype=table.dtype)
            if not all_valid:
                chunk, rows = chunk[chunk >= 0], rows[chunk >= 0]
            table[chunk - keys.low] = rows
            paging.forget(known[start : start + _SEARCHED_KEYS])

        # Two threads take half the time of one; of a key that stands twice, any row may stay.
        with ThreadPoolExecutor(2) as pool:
            list(pool.map(enter, range(0, len(keys), _SEARCHED_KEYS)))
        return RangeIndex(keys.low, table, int(np.count_nonzero(table >= 0)) == keys.count)

    def rows(self, keys: Array) -> Array:
        inside = (keys >= self.low) & (keys < self.low + len(self.table))
        rows = np.full(keys.shape, -1, np.int64)
        rows[inside] = self.table[keys[inside] - self.low]
        return rows


@dataclass(frozen=True, eq=False)
class SortedIndex:
    """`known` are the keys in order, `order` their rows (None where the file has them in order)."""

    known: Array
    order: Array | None
    unique: bool
    signed: bool = False

    @staticmethod
    def of(keys: KeyColumn) -> SortedIndex:
        known: Array = np.asarray(keys)
        if _increases(known):
            return SortedIndex(known, None, True, keys.signed)
        order = np.argsort(known, kind="stable")
        known = known[order]
        first = 0 if keys.signed else int(np.searchsorted(known, 0))
        return SortedIndex(known[first:], order[first:], _increases(known[first:]), keys.signed)

    def rows(self, keys: Array) -> Array:
        if not len(self.known):
            return np.full(keys.shape, -1, np.int64)
        at = np.minimum(np.searchsorted(self.known, keys), len(self.known) - 1)
        rows = at if self.order is None else self.order[at]
        found = self.known[at] == keys
        return np.where(found if self.signed else found & (keys >= 0), rows, -1)


def _increases(keys: Array) -> bool:
    """Chunk by chunk, with the first key of the next."""
    chunks = (keys[at : at + _SEARCHED_KEYS + 1] for at in range(0, max(len(keys) - 1, 0), _SEARCHED_KEYS))
    return all(bool((chunk[1:] > chunk[:-1]).all()) for chunk in chunks)
