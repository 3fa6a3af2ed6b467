"""Find out whether a file can be written, and give an error with advice where it cannot."""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from hugectr2onnx.errors import HugeCTR2ONNXError, OutputError
from hugectr2onnx.tables.regular_file import path_text, shown

_OTHER_FOLDER = "choose a folder that you may write to, or change its permissions"
_MORE_FILES = "raise the number of files that may be open (ulimit -n)"
_ADVICE = {
    errno.EACCES: _OTHER_FOLDER,
    errno.EPERM: _OTHER_FOLDER,
    errno.ENOENT: "create the folder first",
    errno.ENOTDIR: "a part of the path is a file, not a folder: check the path",
    errno.EISDIR: "give the path of a file, not of a folder",
    errno.ENOSPC: "free space on the disk, or choose another one",
    errno.EDQUOT: "free space within your quota, or choose another disk",
    errno.EFBIG: "this file system cannot hold so large a file: choose another disk",
    errno.EROFS: "the file system is read-only: choose another folder",
    errno.ENAMETOOLONG: "choose a shorter name",
    errno.ELOOP: "the path goes round in circles through symbolic links: check it",
    errno.EMFILE: _MORE_FILES,
    errno.ENFILE: _MORE_FILES,
}


def writable_path(target: str | os.PathLike[str]) -> Path:
    """Return the target with symbolic links followed; OutputError where no file can be put."""
    name = path_text(target, OutputError, "the file to write")
    with output_errors(name):
        path = Path(os.path.realpath(name))
        if path.is_dir() or not path.name:
            raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR))
        if not path.parent.is_dir():
            raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT))
        # Replacing /dev/null or a pipe would destroy it.
        if path.exists() and not stat.S_ISREG(path.stat().st_mode):
            raise OutputError(f"cannot write {shown(path)}: it is not a regular file; choose another path")
        return path


def place_to_write(target: str | os.PathLike[str]) -> Path:
    """Return the target with symbolic links followed, where it can be written once its folders are made; nothing is made here.

    Raises OutputError for what is not a file's place, and for a folder that may not be written to.
    """
    folder = existing_folder(target)
    path = Path(os.path.realpath(target))
    if not folder.is_dir():
        raise OutputError(f"cannot write {shown(path)}: {shown(folder)} is not a folder; choose another path")
    if folder == path.parent:
        path = writable_path(target)
    if not os.access(folder, os.W_OK | os.X_OK):
        raise OutputError(f"cannot write {shown(path)}: you may not write to its folder; choose another folder")
    return path


def existing_folder(target: str | os.PathLike[str]) -> Path:
    """Return the nearest folder above a file that is there already. Raises OutputError for what is not a path."""
    name = path_text(target, OutputError, "the file to write")
    with output_errors(name):
        parents = Path(os.path.realpath(name)).parents
        return next((parent for parent in parents if parent.exists()), Path("/"))


def make_folder(target: Path) -> None:
    """Make the folders above a file. Raises OutputError."""
    with output_errors(target):
        target.parent.mkdir(parents=True, exist_ok=True)


@contextmanager
def output_errors(path: str | os.PathLike[str]) -> Iterator[None]:
    """Raise OutputError, with the path and what to do, for whatever the system refuses."""
    try:
        yield
    except HugeCTR2ONNXError:  # some are ValueErrors too
        raise
    except OSError as error:
        advice = _ADVICE.get(error.errno or 0, "choose another path")
        raise OutputError(f"cannot write {shown(path)}: {error.strerror or error}; {advice}") from error
    except ValueError as error:
        raise OutputError(f"cannot write {shown(path)}: {error}; choose another path") from error
