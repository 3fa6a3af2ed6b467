"""A save while it runs: its record, and its new files until they get their names."""

from __future__ import annotations

import errno
import os
import secrets
import stat
from contextlib import suppress
from pathlib import Path
from typing import Self

from hugectr2onnx.backend.saving import save_record
from hugectr2onnx.backend.saving.save_record import Ready
from hugectr2onnx.backend.saving.writable import output_errors

_CANNOT_SYNC = (errno.EINVAL, errno.ENOSYS, errno.EOPNOTSUPP, errno.EBADF, errno.EACCES, errno.EPERM)
_NEW_FILE = os.O_RDWR | os.O_CREAT | os.O_EXCL | getattr(os, "O_CLOEXEC", 0) | getattr(os, "O_BINARY", 0)


class UnfinishedSave:
    """New files in one folder, named in a record that is on the disk before the first of them is made.

    A context manager: what was not renamed when the block ends goes, and so does the record where nothing needs it any more.
    """

    def __init__(self, target: Path, new: int):
        self.target, self.folder, self.new = target, target.parent, new
        self.token = secrets.token_hex(8)
        self.keeps_record = False
        """Whether the record still tells of files when this save has ended."""
        self._descriptor: int | None = None

    def __enter__(self) -> Self:
        """Write the record. The folder is locked, so that nobody takes it for a dead one before it is locked too."""
        path = save_record.record_path(self.folder, self.token)
        try:
            with output_errors(self.target):
                self._descriptor = os.open(path, _NEW_FILE, 0o644)
                with suppress(OSError):
                    save_record.try_lock(self._descriptor)
                save_record.append(self._descriptor, save_record.first_line(self.target.name, self.new))
                sync_folder(self.folder)
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        for number in range(self.new):
            with suppress(OSError):
                self.path(number).unlink(missing_ok=True)
        if not self.keeps_record:
            with suppress(OSError):
                save_record.record_path(self.folder, self.token).unlink(missing_ok=True)
        if self._descriptor is not None:
            with suppress(OSError):
                os.close(self._descriptor)

    def path(self, number: int) -> Path:
        """Tell where a new file lies."""
        return save_record.new_path(self.folder, self.token, number)

    def open_new(self, number: int) -> int:
        """Make a new file; returns its descriptor, which the caller closes."""
        return os.open(self.path(number), _NEW_FILE, 0o666)

    def write_new(self, number: int, content: bytes) -> Path:
        """Return a new file with this content, complete on the disk."""
        descriptor = self.open_new(number)
        try:
            while content:
                content = content[os.write(descriptor, content) :]
            finish(descriptor, self.target)
        finally:
            os.close(descriptor)
        return self.path(number)

    def append(self, ready: Ready) -> None:
        """Say in the record that the files are complete; from now on it keeps those that are renamed."""
        assert self._descriptor is not None
        save_record.append(self._descriptor, {"ready": ready.to_dict()})

    def mark_done(self) -> None:
        """Say in the record that this save has ended, and the manifest is as it should be."""
        assert self._descriptor is not None
        save_record.append(self._descriptor, {"done": True})


def finish(descriptor: int, target: Path) -> None:
    """Put a complete file on the disk, with the permissions of the one whose place it or its model takes."""
    with suppress(OSError, AttributeError):
        os.fchmod(descriptor, stat.S_IMODE(target.stat().st_mode))
    os.fsync(descriptor)


def sync_folder(folder: Path) -> None:
    """Make new names last, where the system can. Raises OSError where the disk fails."""
    try:
        descriptor = os.open(folder, os.O_RDONLY)
    except OSError:  # Windows, or a folder that may be written but not read
        return
    try:
        os.fsync(descriptor)
    except OSError as error:
        if error.errno not in _CANNOT_SYNC:
            raise
    finally:
        os.close(descriptor)
