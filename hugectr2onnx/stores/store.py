"""A store of rows: versions that are written whole and then read, one of which readers take."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any, Protocol

from hugectr2onnx.errors import StoreError
from hugectr2onnx.stores.record import TableRecord, VersionRecord
from hugectr2onnx.stores.row_cache import Row
from hugectr2onnx.stores.table_rows import TableRows
from hugectr2onnx.tables.array import Array


class VersionGoneError(StoreError):
    """A version was removed while somebody read it: take the current one."""


class RowReader(Protocol):
    """One version of a store, which never changes."""

    @property
    def record(self) -> VersionRecord:
        """What the version says about itself."""

    def fetch(self, table: TableRecord, keys: Array) -> Sequence[Row]:
        """Return the stored row of each of different keys int64 [n], None for a key that the table lacks.

        Raises StoreUnavailableError where it may answer later, VersionGoneError where the version was removed, StoreError
        where rows that were written are not there any more.
        """

    def close(self) -> None:
        """Give back what it holds."""


class VersionWriter(Protocol):
    """Writes the rows of one version, which nobody sees yet."""

    def write(self, table: TableRows) -> None:
        """Stream all rows of a table."""

    def facts(self) -> Mapping[str, Any]:
        """Tell what the record must say about the store (`VersionRecord.store`), once all tables are written."""

    def finish(self, record: VersionRecord) -> None:
        """Check that every row is there and keep the record; the version can then be read, and is not current yet."""


class RowStore(Protocol):
    """Versions of one model's tables."""

    def current(self) -> str | None:
        """Return the version that readers take; None in a store without any."""

    def versions(self) -> list[str]:
        """Return the versions that can be read, the oldest first."""

    def reader(self, version: str) -> RowReader:
        """Open a version. Raises VersionGoneError where there is none of that name."""

    def writing(self, version: str, place: Path) -> AbstractContextManager[VersionWriter]:
        """Begin a version; `place` is the folder of its dense part.

        Raises StoreError where the version is there, or another export is at work. What fails leaves no version.
        """

    def switch(self, version: str) -> None:
        """Make a version the current one, in one step. Raises StoreError where it is not there."""

    def break_lock(self) -> bool:
        """End the lock of an export that was killed; False where none is held. One that is alive fails at its next rows."""

    def remove(self, version: str) -> None:
        """Remove a version and its rows. Raises StoreError for the current one and for one that is not there."""

    def close(self) -> None:
        """Give back what it holds."""


def check_switch(store: RowStore, version: str) -> None:
    """Raise StoreError unless a version is there."""
    if version not in store.versions():
        raise no_version(store, version)


def check_removal(store: RowStore, version: str) -> None:
    """Raise StoreError unless a version is there and not the current one."""
    check_switch(store, version)
    if version == store.current():
        raise StoreError(f"version {version} is the one that readers take: switch to another before you remove it")


def no_version(store: RowStore, version: str) -> VersionGoneError:
    """Return the error for a version that is not there."""
    return VersionGoneError(f"there is no version {version}: there are {', '.join(store.versions()) or 'none'}")


def check_rows(table: TableRecord, keys: Array, rows: Sequence[Row]) -> None:
    """Raise StoreError where a row has another length than those that were written."""
    wanted = table.row_bytes
    if {len(row) for row in rows if row is not None} <= {wanted}:
        return
    for key, row in zip(keys.tolist(), rows, strict=True):
        if row is not None and len(row) != wanted:
            raise StoreError(
                f"the row of key {key} in table {table.name} has {len(row)} bytes, and those that were written have "
                f"{wanted}: another program changed the store; write the version again"
            )


def next_version(versions: Sequence[str]) -> Iterator[str]:
    """Yield names for a new version: the number behind the largest, and so on."""
    number = max((int(each) for each in versions if each.isdecimal() and len(each) < 19), default=0)
    while True:
        number += 1
        yield str(number)
