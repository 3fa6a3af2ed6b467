"""A temporary folder that says who uses it, so that the next one removes what a killed process left behind."""

from __future__ import annotations

import json
import os
import re
import stat
import tempfile
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Self

from hugectr2onnx.backend.saving.save_record import holds_lock, identity, may_live, try_lock
from hugectr2onnx.errors import OutputError
from hugectr2onnx.tables.regular_file import read_regular

FOLDER_PREFIX = "hugectr2onnx-"
OWNER = "owner"
_FORMAT = "hugectr2onnx temporary 1"
_MAX_OWNER_BYTES = 4096
_OURS = re.compile(r"[a-z_]+\.onnx(\.[0-9a-f]{16}\.data)?|tables|owner")
"""The files that are ever written to such a folder."""


class TemporaryFolder:
    """A folder of this process for the files of a session: `model.onnx`, its data, `tables`.

    A context manager; `remove` may be called before. A file in it, `owner`, is locked while the process lives.
    """

    def __init__(self) -> None:
        base = Path(tempfile.gettempdir())
        sweep(base)
        self.path = Path(tempfile.mkdtemp(prefix=FOLDER_PREFIX, dir=base))
        self._owner = os.open(
            self.path / OWNER, os.O_RDWR | os.O_CREAT | os.O_EXCL | getattr(os, "O_CLOEXEC", 0), 0o600
        )
        with suppress(OSError):
            try_lock(self._owner)
        os.write(self._owner, json.dumps({"format": _FORMAT, "writer": identity()}).encode())

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.remove()

    def remove(self) -> None:
        """Remove the folder, where the system lets open files go; again at the end of the process where not."""
        if self._owner >= 0:
            with suppress(OSError):
                os.close(self._owner)
            self._owner = -1
        _remove(self.path)

    def __del__(self) -> None:
        with suppress(Exception):
            self.remove()


def sweep(base: Path) -> None:
    """Remove the folders of dead processes of this user."""
    for folder in _folders(base):
        with suppress(OSError, OutputError):
            if _is_dead(folder / OWNER):
                _remove(folder)


def _folders(base: Path) -> Iterator[Path]:
    try:
        with os.scandir(base) as entries:
            named = [entry.path for entry in entries if entry.name.startswith(FOLDER_PREFIX)]
    except OSError:
        return
    for path in named:
        with suppress(OSError):
            status = os.lstat(path)
            if stat.S_ISDIR(status.st_mode) and (not hasattr(os, "geteuid") or status.st_uid == os.geteuid()):
                yield Path(path)


def _is_dead(owner: Path) -> bool:
    """Tell whether a folder is one of ours and its process has gone; raises OSError where nobody can tell."""
    status = owner.lstat()
    if not stat.S_ISREG(status.st_mode) or status.st_size > _MAX_OWNER_BYTES:
        return False
    try:
        stated = json.loads(read_regular(owner, OutputError, max_bytes=_MAX_OWNER_BYTES))
    except (ValueError, RecursionError):
        return False
    if not isinstance(stated, dict) or stated.get("format") != _FORMAT or not isinstance(stated.get("writer"), dict):
        return False
    held = holds_lock(owner)
    return not (may_live(stated["writer"], status.st_mtime) if held is None else held)


def _remove(folder: Path) -> None:
    """Remove our files, the owner's last, and the folder if nothing else is in it."""
    with suppress(OSError):
        names = [entry.name for entry in os.scandir(folder) if _OURS.fullmatch(entry.name)]
        for name in sorted(names, key=lambda name: name == OWNER):
            (folder / name).unlink(missing_ok=True)
        folder.rmdir()
