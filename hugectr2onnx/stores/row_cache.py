"""A bounded cache of rows: the least recently used go first."""

from __future__ import annotations

from collections import OrderedDict
from threading import Lock

ENTRY_BYTES = 300
"""Memory of an entry beside the bytes of its row: key, tuple, places in the dictionary and in its order."""
Row = bytes | None
"""A stored row; None for a key that the table lacks."""


class RowCache:
    """Rows by table and key, at most so many bytes of them. Calls from several threads follow one another."""

    def __init__(self, max_bytes: int) -> None:
        self.max_bytes = max_bytes
        self.bytes = 0
        self._rows: OrderedDict[tuple[str, int], Row] = OrderedDict()
        self._lock = Lock()

    def __len__(self) -> int:
        return len(self._rows)

    def take(self, table: str, keys: list[int], found: list[Row]) -> list[int]:
        """Fill in the rows that are known; returns the places of the others."""
        if not self.max_bytes:
            return list(range(len(keys)))
        missing: list[int] = []
        rows, touch = self._rows, self._rows.move_to_end
        with self._lock:
            for place, key in enumerate(keys):
                entry = (table, key)
                try:
                    found[place] = rows[entry]
                except KeyError:
                    missing.append(place)
                else:
                    touch(entry)
        return missing

    def put(self, table: str, keys: list[int], found: list[Row]) -> None:
        """Keep rows, as many of the last as fit."""
        if not self.max_bytes:
            return
        with self._lock:
            for key, row in zip(keys, found, strict=True):
                entry = (table, key)
                if entry in self._rows:
                    self.bytes -= _size(self._rows.pop(entry))
                self._rows[entry] = row
                self.bytes += _size(row)
            while self.bytes > self.max_bytes:
                self.bytes -= _size(self._rows.popitem(last=False)[1])


def _size(row: Row) -> int:
    return ENTRY_BYTES + (len(row) if row is not None else 0)
