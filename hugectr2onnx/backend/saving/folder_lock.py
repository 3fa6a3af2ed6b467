"""One save at a time tidies a folder, commits and changes its manifest."""

from __future__ import annotations

import errno
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from hugectr2onnx.errors import OutputError
from hugectr2onnx.tables.regular_file import shown

try:
    import fcntl
except ImportError:  # not POSIX
    fcntl = None  # type: ignore[assignment]

MAX_WAIT = 30.0
"""Seconds. Saves hold the lock for milliseconds: who holds it longer is stopped, or is another program."""
_FIRST_PAUSE, _LAST_PAUSE = 0.005, 0.2
_LOCKS = Path("/proc/locks")
_BUSY = (errno.EWOULDBLOCK, errno.EAGAIN, errno.EACCES)


@contextmanager
def folder_lock(folder: Path, *, required: bool = True) -> Iterator[None]:
    """Hold the lock of a folder while the block runs; without one where the file system has no locks.

    Waits MAX_WAIT seconds at most; then raises OutputError, which names the holder, or goes on if not `required`.
    """
    descriptor = _open(folder)
    if descriptor is None:
        yield
        return
    try:
        if not _acquire(descriptor) and required:
            raise OutputError(
                f"cannot write to {shown(folder)}: {_holder(descriptor)} has held a lock on this folder for "
                f"{MAX_WAIT:.0f} seconds; wait until it ends or end it, or choose another folder"
            )
        yield
    finally:
        os.close(descriptor)


def _open(folder: Path) -> int | None:
    if fcntl is None:
        return None
    with suppress(OSError):
        return os.open(folder, os.O_RDONLY | os.O_CLOEXEC)
    return None


def _acquire(descriptor: int) -> bool:
    """Tell whether the lock is held now, or there is none to be had; False where another process has it."""
    end, pause = time.monotonic() + MAX_WAIT, _FIRST_PAUSE
    while True:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return True
        except OSError as error:
            if error.errno not in _BUSY:  # a file system without locks, such as some NFS
                return True
        if time.monotonic() >= end:
            return False
        time.sleep(pause)
        pause = min(2 * pause, _LAST_PAUSE)


def _holder(descriptor: int) -> str:
    """Return the process that has locked an open file, as far as Linux tells."""
    status = os.fstat(descriptor)
    place = f"{os.major(status.st_dev):02x}:{os.minor(status.st_dev):02x}:{status.st_ino}"
    with suppress(OSError, ValueError):
        for line in _LOCKS.read_text(encoding="ascii").splitlines():
            fields = line.split()
            if "->" not in fields and fields[5] == place:
                return f"process {fields[4]}{_command(fields[4])}"
    return "another program (see `fuser` or `lsof`)"


def _command(process: str) -> str:
    with suppress(OSError):
        return f" ({Path('/proc', process, 'comm').read_text(encoding='utf-8', errors='replace').strip()})"
    return ""
