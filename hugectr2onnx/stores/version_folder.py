"""Versions as folders: FOLDER/versions/NAME with a record each, and FOLDER/current, which names one of them.

A version is written under another name beside the others, and gets its own when it is complete. `current` is replaced by a
rename. So readers see whole versions, before, while and after one is written, and a crash leaves the old one current.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from hugectr2onnx.backend.saving.folder_lock import folder_lock
from hugectr2onnx.backend.saving.replace_file import replace_file
from hugectr2onnx.backend.saving.unfinished_save import sync_folder
from hugectr2onnx.backend.saving.writable import output_errors
from hugectr2onnx.errors import OutputError, StoreError
from hugectr2onnx.stores.record import VersionRecord, check_version_name
from hugectr2onnx.stores.store import VersionGoneError

RECORD, CURRENT, VERSIONS = "record.json", "current", "versions"
_MAX_VERSION_RECORD = 64 << 20
_UNFINISHED = ".unfinished-"
_OWN_MARK = ".hugectr2onnx"
"""A file in every folder that this module makes, so that it removes no other."""


class VersionFolder:
    """The versions in a folder; whose rows lie elsewhere, it holds their dense parts."""

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self.path = Path(os.path.realpath(path))

    @property
    def exists(self) -> bool:
        return (self.path / VERSIONS / _OWN_MARK).is_file()

    def current(self) -> str | None:
        """Return the version that `current` names; None without such a file. Raises StoreError for one that is another's."""
        try:
            with open(self.path / CURRENT, encoding="ascii") as file:
                text = file.read(100)
        except FileNotFoundError:
            return None
        except (OSError, ValueError) as error:
            raise StoreError(f"{self.path / CURRENT} cannot be read: {error}") from error
        try:
            return check_version_name(text.rstrip("\n"))
        except ValueError as error:
            raise StoreError(f"{self.path / CURRENT} does not name a version: {text[:60]!r}") from error

    def versions(self) -> list[str]:
        """Complete versions, the oldest first."""
        folder = self.path / VERSIONS
        found = [path for path in (folder.iterdir() if folder.is_dir() else ()) if (path / RECORD).is_file()]
        complete = [path for path in found if not path.name.startswith(".")]
        return [path.name for path in sorted(complete, key=lambda path: (path.stat().st_mtime_ns, path.name))]

    def folder_of(self, version: str) -> Path:
        return self.path / VERSIONS / version

    def record(self, version: str) -> VersionRecord:
        """Return the record of a version. Raises VersionGoneError where there is none, StoreError for one that is damaged."""
        path = self.folder_of(version) / RECORD
        try:
            if path.stat().st_size > _MAX_VERSION_RECORD:
                raise StoreError(f"{path} has more than {_MAX_VERSION_RECORD >> 20} MB: another program wrote it")
            text = path.read_bytes()
        except (FileNotFoundError, NotADirectoryError) as error:
            listed = ", ".join(self.versions()) or "none"
            raise VersionGoneError(f"{self.path} has no version {version}: there are {listed}") from error
        except OSError as error:
            raise StoreError(f"{path} cannot be read: {error.strerror}") from error
        record = VersionRecord.from_json(text, str(path))
        if record.version != version:
            raise StoreError(f"{path} is the record of version {record.version}, not of {version}: it was moved")
        return record

    @contextmanager
    def writing(self, version: str) -> Iterator[Path]:
        """Make a folder to fill, which becomes the version where the block ends well, and goes where it does not."""
        check_version_name(version)
        self.prepare()
        target, unfinished = self.folder_of(version), self.folder_of(f"{_UNFINISHED}{version}")
        with output_errors(unfinished), folder_lock(self.path / VERSIONS):
            if target.exists():
                raise StoreError(f"version {version} is there already in {self.path}: give another name")
            # Whoever holds the lock is the only one at work, so what is unfinished was left by a crash.
            for left in (self.path / VERSIONS).glob(f"{_UNFINISHED}*"):
                _remove_own(left)
            unfinished.mkdir()
            (unfinished / _OWN_MARK).write_bytes(b"")
            try:
                yield unfinished
                for folder, _, names in os.walk(unfinished):
                    for name in names:
                        _sync(os.path.join(folder, name))
                    sync_folder(Path(folder))
                os.rename(unfinished, target)
                sync_folder(target.parent)
            except BaseException:
                with suppress(OSError):
                    _remove_own(unfinished)
                raise

    def switch(self, version: str) -> None:
        """Let `current` name a version, in one step."""
        self.record(version)
        replace_file(self.path / CURRENT, f"{version}\n".encode(), is_own=_names_a_version)

    def remove(self, version: str) -> None:
        """Remove the folder of a version that is not current."""
        self.record(version)
        if version == self.current():
            raise StoreError(f"version {version} is the one that readers take: switch to another before you remove it")
        with output_errors(self.folder_of(version)), folder_lock(self.path / VERSIONS):
            # Its record goes first: a reader that opens the version then finds none, not half of one.
            (self.folder_of(version) / RECORD).unlink()
            _remove_own(self.folder_of(version))

    def prepare(self) -> None:
        """Make the folders. Raises OutputError where another program has something there."""
        with output_errors(self.path):
            self.path.mkdir(parents=True, exist_ok=True)
            folder = self.path / VERSIONS
            if not self.exists and any(folder.iterdir() if folder.is_dir() else ()):
                raise OutputError(f"{folder} is there already and not ours: choose another folder")
            folder.mkdir(exist_ok=True)
            (folder / _OWN_MARK).write_bytes(b"")


def _names_a_version(head: bytes) -> bool:
    try:
        return bool(check_version_name(head.decode("ascii").removesuffix("\n")))
    except ValueError:
        return False


def _remove_own(folder: Path) -> None:
    """Remove a folder that this module made. Raises OutputError for any other."""
    if not folder.exists() and not folder.is_symlink():
        return
    if folder.is_symlink() or not (folder / _OWN_MARK).is_file():
        raise OutputError(f"{folder} is not a folder that hugectr2onnx made: remove it yourself")
    shutil.rmtree(folder)


def _sync(path: str) -> None:
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
