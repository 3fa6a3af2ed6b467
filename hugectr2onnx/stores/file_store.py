"""A store whose rows lie in the folders of its versions: Parquet or RocksDB."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Protocol

from hugectr2onnx.stores.record import VersionRecord
from hugectr2onnx.stores.store import RowReader, VersionWriter
from hugectr2onnx.stores.version_folder import RECORD, VersionFolder


class RowFiles(Protocol):
    """One kind of files that rows lie in."""

    def writer(self, place: Path, version: str) -> VersionWriter:
        """Write the rows of a version to a folder. `finish` checks them, and leaves the record to the folder."""

    def reader(self, place: Path, record: VersionRecord) -> RowReader:
        """Open the rows of a version. Raises StoreError for files that are damaged or another version's."""


class FileStore:
    """`store.RowStore` over a `VersionFolder`."""

    def __init__(self, folder: VersionFolder, files: RowFiles) -> None:
        self._folder = folder
        self._files = files

    def current(self) -> str | None:
        return self._folder.current()

    def versions(self) -> list[str]:
        return self._folder.versions()

    def reader(self, version: str) -> RowReader:
        return self._files.reader(self._folder.folder_of(version), self._folder.record(version))

    @contextmanager
    def writing(self, version: str, place: Path) -> Iterator[VersionWriter]:
        yield self._files.writer(place, version)

    def switch(self, version: str) -> None:
        self._folder.switch(version)

    def break_lock(self) -> bool:
        """Return False: the system ends the lock of a file with the process that holds it."""
        return False

    def remove(self, version: str) -> None:
        self._folder.remove(version)

    def close(self) -> None:
        """Nothing is held between calls."""


def keep_record(place: Path, record: VersionRecord) -> None:
    """Keep the record of a version beside its dense part."""
    (place / RECORD).write_text(record.to_json(), encoding="utf-8")
