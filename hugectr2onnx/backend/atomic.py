"""Files that appear whole or not at all."""

from __future__ import annotations

import errno
import os
import secrets
import stat
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import BinaryIO

from hugectr2onnx.errors import OutputError

_ADVICE = {
    errno.EACCES: "Choose a folder that you may write to, or change its permissions.",
    errno.EPERM: "Choose a folder that you may write to, or change its permissions.",
    errno.ENOENT: "Create the folder first.",
    errno.ENOTDIR: "A part of the path is a file, not a folder: check the path.",
    errno.EISDIR: "Give the path of a file, not of a folder.",
    errno.ENOSPC: "Free space on the disk, or choose another one.",
    errno.EDQUOT: "Free space within your quota, or choose another disk.",
    errno.EFBIG: "This file system cannot hold so large a file: choose another disk.",
    errno.EROFS: "The file system is read-only: choose another folder.",
    errno.ENAMETOOLONG: "Choose a shorter name.",
    errno.ELOOP: "The path goes round in circles through symbolic links: check it.",
}


@contextmanager
def atomic_files(*targets: str | os.PathLike[str]) -> Iterator[list[BinaryIO]]:
    """Open one new file beside each target; they take the targets' places together when the block ends well.

    Give the file that refers to the others last. On any exception the new files are removed and existing targets stay
    as they were. A single target is replaced in one step. When several targets are replaced, the old last one is set
    aside first: a crash half way then leaves a model missing (its old file lies beside it, with a leading dot), never
    an old model with new weights. OutputError says which path cannot be written, and what to do.
    """
    paths = [writable_path(target) for target in targets]
    temporary = [_beside(path, "new") for path in paths]
    files: list[BinaryIO] = []
    try:
        with _as_output_errors(paths[-1]):
            for path in temporary:
                files.append(open(path, "x+b"))  # noqa: SIM115
            yield files
        for path, file in zip(paths, files, strict=True):
            with _as_output_errors(path):
                _finish(file, path)
        _commit(list(zip(temporary, paths, strict=True)))
    finally:
        for file in files:
            with suppress(OSError):
                file.close()
        for path in temporary:
            with suppress(OSError):
                path.unlink(missing_ok=True)


def writable_path(target: str | os.PathLike[str]) -> Path:
    """The target with symbolic links followed; OutputError where a file cannot come to stand."""
    if not isinstance(target, str | os.PathLike) or not isinstance(os.fspath(target), str):
        raise OutputError(f"Cannot write {target!r}: it is no path. Give the path of a file.")
    with _as_output_errors(target):
        path = Path(os.path.realpath(target))
        if path.is_dir() or not path.name:
            raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR))
        if not path.parent.is_dir():
            raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT))
        # Replacing /dev/null or a pipe would destroy it.
        if path.exists() and not stat.S_ISREG(path.stat().st_mode):
            raise OutputError(f"Cannot write {path}: it is not a regular file. Choose another path.")
        return path


def _commit(pairs: list[tuple[Path, Path]]) -> None:
    """Move every new file to its target; on failure everything is as before."""
    aside = _set_aside([path for _, path in pairs])
    try:
        for new, path in pairs:
            with _as_output_errors(path):
                os.replace(new, path)
    except BaseException:
        for old, path in reversed(aside):
            with suppress(OSError):
                os.replace(old, path)
        raise
    for old, _ in aside:
        with suppress(OSError):
            old.unlink()
    for folder in {path.parent for _, path in pairs}:
        _sync_folder(folder)


def _set_aside(paths: list[Path]) -> list[tuple[Path, Path]]:
    """Rename the old files of a set, the last one first; nothing to do where each step alone is harmless."""
    if not any(path.exists() for path in paths[:-1]):
        return []
    aside = []
    try:
        for path in reversed(paths):
            if path.exists():
                aside.append((_beside(path, "old"), path))
                with _as_output_errors(path):
                    os.replace(path, aside[-1][0])
    except BaseException:
        for old, path in aside:
            with suppress(OSError):
                os.replace(old, path)
        raise
    return aside


def _finish(file: BinaryIO, target: Path) -> None:
    """Close the file; its bytes are on the disk before they take the place of others, which a crash must not lose."""
    file.flush()
    if target.exists():
        if os.name == "posix":
            os.fchmod(file.fileno(), stat.S_IMODE(target.stat().st_mode))
        os.fsync(file.fileno())
    file.close()


def _sync_folder(folder: Path) -> None:
    """Make the new names last, where the system can."""
    with suppress(OSError):
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def _beside(path: Path, kind: str) -> Path:
    return path.with_name(f".{path.name}.{secrets.token_hex(4)}.{kind}")


@contextmanager
def _as_output_errors(path: str | os.PathLike[str]) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        advice = _ADVICE.get(error.errno or 0, "Choose another path.")
        raise OutputError(f"Cannot write {os.fspath(path)}: {error.strerror or error}. {advice}") from error
    except ValueError as error:
        raise OutputError(f"Cannot write {os.fspath(path)!r}: {error}. Choose another path.") from error
