"""Files that appear whole or not at all."""

from __future__ import annotations

import errno
import os
import secrets
import stat
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from hugectr2onnx.backend.saving import stale_temporaries
from hugectr2onnx.errors import HugeCTR2ONNXError, OutputError

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
def atomic_files(
    *targets: str | os.PathLike[str], index: str | os.PathLike[str] | None = None
) -> Iterator[list[BinaryIO]]:
    """Open one new file beside each target; they take the targets' places together when the block ends well.

    Give the file that refers to the others last. `index` is one that others use too, such as a manifest: it comes last of
    all, in one step. On any exception the new files are removed and existing targets stay as they were. A single target is
    replaced in one step. When several are replaced, the old last one is set aside first: a crash half way then leaves a model
    missing (its old file lies beside it, with a leading dot, and the next call for the same target brings it back), never an
    old model with new weights. What a killed process left for the same target is removed first (`leftovers`). OutputError
    says which path cannot be written, and what to do.
    """
    paths = [writable_path(target) for target in (*targets, *([index] if index is not None else []))]
    replaced = _Set(tuple(paths[: len(targets)]), tuple(paths[len(targets) :]))
    if len(set(paths)) < len(paths):
        raise OutputError(f"Cannot write {paths[-1]}: two files would have one name. Choose another name.")
    stale_temporaries.clear(replaced.last)
    with _opened(replaced) as (token, files):
        with _as_output_errors(replaced.last):
            yield [files[path] for path in paths]
        for path in paths:
            with _as_output_errors(path):
                _finish(files[path], path)
        _commit(replaced, token)


@dataclass(frozen=True)
class _Set:
    """What is replaced together: `paths`, of which the last refers to the others, then `index`."""

    paths: tuple[Path, ...]
    index: tuple[Path, ...]

    @property
    def last(self) -> Path:
        return self.paths[-1]


@contextmanager
def _opened(replaced: _Set) -> Iterator[tuple[str, dict[Path, BinaryIO]]]:
    """The new file of each path, all with one token, the last path's the first to come and the last to go."""
    files: dict[Path, BinaryIO] = {}
    with ExitStack() as cleaning:
        with _as_output_errors(replaced.last):
            token = _open_held(replaced.last, files, cleaning)
            for path in (*replaced.paths[:-1], *replaced.index):
                cleaning.callback(_remove, stale_temporaries.beside(path, token, "new"))
                files[path] = open(stale_temporaries.beside(path, token, "new"), "x+b")  # noqa: SIM115
                cleaning.callback(_close, files[path])
            for path in replaced.index:
                _hold(files[path], cleaning)
        yield token, files


def _open_held(path: Path, files: dict[Path, BinaryIO], cleaning: ExitStack) -> str:
    """Open the new file that shows by its lock that this process lives; returns the token of the set."""
    while True:
        token = secrets.token_hex(4)
        cleaning.callback(_remove, stale_temporaries.beside(path, token, "new"))
        files[path] = open(stale_temporaries.beside(path, token, "new"), "x+b")  # noqa: SIM115
        cleaning.callback(_close, files[path])
        with suppress(BlockingIOError):  # taken for a leftover in the moment before the lock
            _hold(files[path], cleaning)
            return token


def _hold(file: BinaryIO, cleaning: ExitStack) -> None:
    lock = stale_temporaries.hold(file)
    if lock is not None:
        cleaning.callback(os.close, lock)


def _remove(path: Path) -> None:
    with suppress(OSError):
        path.unlink(missing_ok=True)


def _close(file: BinaryIO) -> None:
    with suppress(OSError):
        file.close()


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


def _commit(replaced: _Set, token: str) -> None:
    """Move every new file to its target; on failure everything is as before."""
    targets = [*replaced.paths, *replaced.index]
    added = [path for path in targets if not path.exists()]
    aside = _set_aside(replaced, token)
    try:
        for path in targets:
            with _as_output_errors(path):
                os.replace(stale_temporaries.beside(path, token, "new"), path)
    except BaseException:
        for path in added:
            if not stale_temporaries.beside(path, token, "new").exists():
                _remove(path)
        _bring_back(aside, token)
        raise
    for path in reversed(aside):
        _remove(stale_temporaries.beside(path, token, "old"))
    for folder in {path.parent for path in targets}:
        _sync_folder(folder)


def _set_aside(replaced: _Set, token: str) -> list[Path]:
    """Rename the old files of a set, the last one first; nothing to do where each step alone is harmless."""
    if not replaced.index and not any(path.exists() for path in replaced.paths[:-1]):
        return []
    aside: list[Path] = []
    try:
        for path in reversed(replaced.paths):
            if path.exists():
                aside.append(path)
                with _as_output_errors(path):
                    os.replace(path, stale_temporaries.beside(path, token, "old"))
    except BaseException:
        _bring_back(aside, token)
        raise
    return aside


def _bring_back(aside: list[Path], token: str) -> None:
    for path in reversed(aside):
        with suppress(OSError):
            os.replace(stale_temporaries.beside(path, token, "old"), path)


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


@contextmanager
def _as_output_errors(path: str | os.PathLike[str]) -> Iterator[None]:
    try:
        yield
    except HugeCTR2ONNXError:
        raise
    except OSError as error:
        advice = _ADVICE.get(error.errno or 0, "Choose another path.")
        raise OutputError(f"Cannot write {os.fspath(path)}: {error.strerror or error}. {advice}") from error
    except ValueError as error:
        raise OutputError(f"Cannot write {os.fspath(path)!r}: {error}. Choose another path.") from error
