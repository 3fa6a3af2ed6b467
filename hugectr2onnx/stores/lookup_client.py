"""`LookupClient`: keys in, vectors out, from a version that stays the same for the whole of a request."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from threading import Lock
from typing import Any, TypeVar

import numpy as np

from hugectr2onnx.errors import FeedError, OptionError, StoreError, StoreUnavailableError
from hugectr2onnx.ir.given_feeds import normalize_feeds
from hugectr2onnx.stores.closing import Closing
from hugectr2onnx.stores.places import dense_feeds
from hugectr2onnx.stores.record import TableRecord, VersionRecord, decode, encode
from hugectr2onnx.stores.row_cache import Row, RowCache
from hugectr2onnx.stores.store import RowReader, RowStore, VersionGoneError, check_rows
from hugectr2onnx.tables.array import Array
from hugectr2onnx.tables.key_index import MAX_KEY

CACHE_BYTES = 64 << 20
MAX_VERSION_CHANGES = 3
T = TypeVar("T")

log = logging.getLogger("hugectr2onnx.stores")


@dataclass(frozen=True)
class Patience:
    """The time that a look-up waits for a store that does not answer.

    attempts: in all; first_pause: seconds behind the first that failed, twice as long behind each further one, up to
    max_pause. How long one attempt may take is the time-out of the store.
    """

    attempts: int = 4
    first_pause: float = 0.05
    max_pause: float = 1.0

    def __post_init__(self) -> None:
        if self.attempts < 1 or self.first_pause < 0 or self.max_pause < 0:
            raise OptionError(
                f"attempts is {self.attempts}, the pauses {self.first_pause} and {self.max_pause} seconds"
            )

    def call(self, step: Callable[[], T]) -> T:
        """Return the result of a step that may raise StoreUnavailableError. Raises the last of these."""
        started = time.monotonic()
        for attempt in range(self.attempts):
            try:
                return step()
            except StoreUnavailableError as error:
                if attempt + 1 == self.attempts:
                    error.add_note(f"after {self.attempts} attempts in {time.monotonic() - started:.2f} seconds")
                    raise
                time.sleep(min(self.first_pause * 2**attempt, self.max_pause))
        raise AssertionError


@dataclass
class LookupCounts:
    """The keys that a client has looked up since it was made: different keys of each request."""

    keys: int = 0
    cached: int = 0
    unknown: int = 0
    """Keys that the model does not know, which got the default vector."""


class Pinned:
    """A version, its rows that are in memory, and the way to the others."""

    def __init__(self, reader: RowReader, cache_bytes: int, patience: Patience, counts: LookupCounts) -> None:
        self.record: VersionRecord = reader.record
        self._reader = reader
        self._cache = RowCache(cache_bytes)
        self._patience = patience
        self._counts = counts
        self._tables = {table.name: table for table in self.record.tables}
        self._defaults = {table.name: _default_row(table) for table in self.record.tables}
        self._forms = {each.name: each.form for each in self.record.inputs}

    def dense_feeds(self, feeds: object) -> dict[str, Array]:
        """Return the inputs of the dense part for those of the whole model. Raises FeedError for inputs that do not fit."""
        arrays = normalize_feeds(self._forms, feeds, ignored=self.record.ignored)
        return dense_feeds(self.record, arrays, self.fetch)

    def fetch(self, table: str, keys: Array) -> Array:
        """float32 [n, width] of different keys int64 [n], the default vector for unknown ones (`places.Fetch`)."""
        return self.fetch_known(table, keys)[0]

    def fetch_known(self, table: str, keys: Array) -> tuple[Array, Array]:
        """Return the same, and which keys are known, bool [n]."""
        known = self._tables.get(table) or self.record.table(table)
        found: list[Row] = [None] * len(keys)
        numbers: list[int] = keys.tolist()
        missing = self._cache.take(table, numbers, found)
        if missing:
            self._fetch_missing(known, keys, missing, found)
        default = self._defaults[table]
        unknown = [row is None for row in found]
        joined = b"".join([default if row is None else row for row in found])
        self._counts.keys += len(found)
        self._counts.cached += len(found) - len(missing)
        self._counts.unknown += sum(unknown)
        stored = np.frombuffer(joined, np.uint8).reshape(len(found), known.row_bytes)
        return decode(known, stored), ~np.array(unknown, bool)

    def _fetch_missing(self, table: TableRecord, keys: Array, missing: list[int], found: list[Row]) -> None:
        wanted = keys[missing]
        rows: Sequence[Row] = self._patience.call(lambda: self._reader.fetch(table, wanted))
        check_rows(table, wanted, rows)
        self._cache.put(table.name, wanted.tolist(), list(rows))
        for place, row in zip(missing, rows, strict=True):
            found[place] = row

    def close(self) -> None:
        self._reader.close()


def _default_row(table: TableRecord) -> bytes:
    return encode(table, np.full((1, table.width), table.default, np.float32)).tobytes()


def _keys(keys: Any) -> Array:
    """int64 [...] of what is given as keys. Raises FeedError, for numbers beyond int64 too."""
    try:
        asked = np.asarray(keys)
    except (ValueError, TypeError, OverflowError) as error:
        raise FeedError(f"the keys are not an array: {error}") from None
    if asked.dtype.kind not in "iu" and asked.size:
        raise FeedError(f"keys are {asked.dtype}; give integers")
    if asked.dtype.kind == "u" and asked.size and asked.max() > MAX_KEY:
        raise FeedError(f"the key {asked.max()} is beyond int64, which the tables' files have")
    return asked.astype(np.int64)


class LookupClient(Closing):
    """Looks keys up in a store of rows as the compiled model does in its tables.

    Every call takes one version for all of its keys: the store's current one, or with `version` that one. Rows that were
    fetched are kept up to `cache_bytes`, the least recently used go first. A store that does not answer is asked again
    (`patience`), then StoreUnavailableError is raised; a row that was written and is not there any more raises StoreError.
    The default vector stands for keys that the model does not know, and for nothing else. Threads may share a client.
    """

    def __init__(
        self,
        store: RowStore,
        *,
        version: str | None = None,
        cache_bytes: int = CACHE_BYTES,
        patience: Patience = Patience(),
    ) -> None:
        if cache_bytes < 0:
            raise OptionError(f"cache_bytes is {cache_bytes}; it is a number of bytes, 0 for no cache")
        self.counts = LookupCounts()
        self._store = store
        self._wanted = version
        self._cache_bytes = cache_bytes
        self._patience = patience
        self._pinned: Pinned | None = None
        self._is_closed = False
        self._lock = Lock()

    @property
    def record(self) -> VersionRecord:
        """What the version says that the next call takes."""
        return self.pin().record

    def lookup(self, table: str, keys: Any) -> Array:
        """Return the vectors float32 [..., width] of keys of a table, int64 [...]; the default vector for unknown ones.

        Keys are those of the table's file: offsets are added and nothing is padding.
        """
        return self.lookup_known(table, keys)[0]

    def lookup_known(self, table: str, keys: Any) -> tuple[Array, Array]:
        """Return the vectors, and which of the keys are known, bool [...]."""
        asked = _keys(keys)
        unique, inverse = np.unique(asked, return_inverse=True)
        rows, known = self.with_version(lambda pinned: pinned.fetch_known(table, unique))
        inverse = inverse.reshape(asked.shape)
        return rows[inverse], known[inverse]

    def dense_feeds(self, feeds: Mapping[str, Any]) -> dict[str, Array]:
        """Return the inputs of the dense part for the whole model's inputs: places and rows in the place of keys.

        Raises FeedError for inputs that are missing, unknown, or of another kind or shape.
        """
        return self.with_version(lambda pinned: pinned.dense_feeds(feeds))

    def with_version(self, step: Callable[[Pinned], T]) -> T:
        """Return the result of a step on one version; taken again on the next where the version is removed meanwhile."""
        for attempt in range(1, MAX_VERSION_CHANGES + 1):
            try:
                return step(self.pin())
            except VersionGoneError:
                if self._wanted is not None or attempt == MAX_VERSION_CHANGES:
                    raise
                self._forget()
        raise AssertionError

    def pin(self) -> Pinned:
        """Return the version to take now. Raises StoreError where the store has none, and once the client is closed."""
        if self._is_closed:
            raise StoreError("the client is closed: make another one")
        version = self._wanted or self._current()
        with self._lock:
            if self._pinned is None or self._pinned.record.version != version:
                reader = self._patience.call(lambda: self._store.reader(version))
                # Whoever still reads the version before holds it; the last of them gives it back.
                self._pinned = Pinned(reader, self._cache_bytes, self._patience, self.counts)
            return self._pinned

    def _current(self) -> str:
        try:
            version = self._patience.call(self._store.current)
        except StoreUnavailableError as error:
            # Rows of a version never change, so a reader that cannot ask for a newer one may go on with its own.
            if self._pinned is None:
                raise
            log.warning(
                "version %s is kept: the current one cannot be asked for: %s", self._pinned.record.version, error
            )
            return self._pinned.record.version
        if version is None:
            raise StoreError("the store has no version that readers can take: export one")
        return version

    def _forget(self) -> None:
        with self._lock:
            self._pinned = None

    def close(self) -> None:
        """Give back the version and the store."""
        with self._lock:
            self._is_closed = True
            if self._pinned is not None:
                self._pinned.close()
                self._pinned = None
        with suppress(StoreError):
            self._store.close()
