"""Open files for reading: regular ones only, so that no pipe, device, socket or folder blocks or floods the program."""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Iterator
from typing import BinaryIO

from hugectr2onnx.errors import HugeCTR2ONNXError

PIECE_BYTES = 1 << 20
MAX_SHOWN = 200
"""Characters of a path or a name that a message repeats."""
_KINDS = {
    stat.S_IFDIR: "a folder",
    stat.S_IFIFO: "a pipe",
    stat.S_IFSOCK: "a socket",
    stat.S_IFCHR: "a device",
    stat.S_IFBLK: "a device",
}
_FLAGS = os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_NOCTTY", 0) | getattr(os, "O_BINARY", 0)
"""A path may change between the look at it and its opening: without O_NONBLOCK a pipe would then wait for a writer."""


def open_regular(
    path: str | os.PathLike[str], error: type[HugeCTR2ONNXError], what: str = "a file", max_bytes: int | None = None
) -> BinaryIO:
    """Open a regular file for reading, links followed; the caller closes it.

    `what` says in the message which file is expected, such as "an ONNX file". Raises `error` for anything that is not a
    path to a regular file of at most `max_bytes` bytes: nothing else is opened, so that no call waits and nothing is lost
    from a pipe.
    """
    name = path_text(path, error, what)
    try:
        status = os.stat(name)
    except FileNotFoundError:
        raise error(f"{shown(name)}: no such file, expected {what}") from None
    except (OSError, ValueError) as failure:
        raise error(f"{shown(name)}: cannot be read: {reason(failure)}; expected {what}") from None
    _refuse_special(status, name, error, what)
    try:
        descriptor = os.open(name, _FLAGS | getattr(os, "O_CLOEXEC", 0))
    except HugeCTR2ONNXError:
        raise
    except OSError as failure:
        raise error(f"{shown(name)}: cannot be read: {reason(failure)}; expected {what}") from None
    try:
        status = os.fstat(descriptor)
        _refuse_special(status, name, error, what)
        if max_bytes is not None and status.st_size > max_bytes:
            raise error(f"{shown(name)}: has {status.st_size:,} bytes, {what} has at most {max_bytes:,}")
    except BaseException:
        os.close(descriptor)
        raise
    return os.fdopen(descriptor, "rb")


def read_regular(
    path: str | os.PathLike[str], error: type[HugeCTR2ONNXError], what: str = "a file", *, max_bytes: int
) -> bytes:
    """Return the content of a regular file of at most `max_bytes` bytes. Raises `error` as `open_regular` does."""
    with open_regular(path, error, what, max_bytes) as file:
        try:
            content = b"".join(_pieces(file, max_bytes + 1))
        except OSError as failure:
            raise error(f"{shown(path)}: cannot be read: {reason(failure)}; expected {what}") from None
    if len(content) > max_bytes:
        raise error(f"{shown(path)}: grew while it was read, {what} has at most {max_bytes:,} bytes")
    return content


def _pieces(file: BinaryIO, most: int) -> Iterator[bytes]:
    """Yield the content piece by piece: one read of `most` bytes would set aside so much memory, however small the file."""
    while most > 0 and (piece := file.read(min(PIECE_BYTES, most))):
        most -= len(piece)
        yield piece


def first_bytes(path: str | os.PathLike[str], count: int) -> bytes:
    """At most `count` bytes from the start of a regular file; none where there is no such file, or it cannot be read."""
    try:
        with open_regular(path, HugeCTR2ONNXError) as file:
            return file.read(count)
    except (HugeCTR2ONNXError, OSError):
        return b""


def path_text(path: object, error: type[HugeCTR2ONNXError], what: str = "a file") -> str:
    """Return a path as text; raises `error` for numbers (which `open` takes for open files), None, bytes and the like."""
    text = os.fspath(path) if isinstance(path, os.PathLike) else path
    if not isinstance(text, str):
        raise error(f"{shown(path)} is not a path: give the path of {what} as a str or a pathlib.Path")
    return text


def shown(value: object) -> str:
    """Return a path or name for a message: whole while it is short, else its ends; no line breaks or control characters."""
    text = str(value)
    text = "".join(sign if sign.isprintable() else repr(sign)[1:-1] for sign in _cut(text))
    return _cut(text)


def _cut(text: str) -> str:
    half = MAX_SHOWN // 2
    return text if len(text) <= MAX_SHOWN else f"{text[:half]}...{text[-half:]}"


def _refuse_special(status: os.stat_result, name: str, error: type[HugeCTR2ONNXError], what: str) -> None:
    kind = stat.S_IFMT(status.st_mode)
    if kind != stat.S_IFREG:
        raise error(f"{shown(name)}: is {_KINDS.get(kind, 'not a regular file')}, expected {what}")


def reason(failure: OSError | ValueError) -> str:
    """Tell what the system says, without the path that the message names already, and what to do where no file is at fault."""
    told = (failure.strerror if isinstance(failure, OSError) else None) or str(failure)
    is_full = isinstance(failure, OSError) and failure.errno in (errno.EMFILE, errno.ENFILE)
    return f"{told}: raise the number of files that may be open (ulimit -n)" if is_full else told
