"""The standard streams of the command line: results on standard output alone, and streams that may be closed or full."""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stdout, suppress
from typing import TextIO

STDOUT, STDERR = 1, 2


@contextmanager
def reserved_stdout() -> Iterator[TextIO]:
    """Yield standard output for the results of a verb, and send all other text that goes there to standard error.

    onnxruntime prints to standard output, from Python and from C++: neither may get between the lines of a result.
    """
    stream = sys.stdout or open_null()
    messages = sys.stderr or open_null()
    if not (_has_number(stream, STDOUT) and _has_number(messages, STDERR)):
        # Streams of a test or of a notebook: nothing but Python writes to them.
        with redirect_stdout(messages):
            yield stream
        return
    stream.flush()
    private = os.dup(STDOUT)
    os.dup2(STDERR, STDOUT)
    try:
        with (
            suppress(BrokenPipeError),
            open(private, "w", encoding=stream.encoding, errors="backslashreplace", closefd=False) as own,
            redirect_stdout(messages),
        ):
            yield own
    finally:
        os.dup2(private, STDOUT)
        os.close(private)


def open_null() -> TextIO:
    """Return a stream to nowhere. Python has None for a stream that was closed before it started."""
    return open(os.devnull, "w", encoding="utf-8")


def is_terminal(stream: TextIO) -> bool:
    """Tell whether a stream is a terminal that moves its cursor."""
    try:
        return stream.isatty() and os.environ.get("TERM") != "dumb"
    except (OSError, ValueError):
        return False


def wants_colour() -> bool:
    """Tell whether the user has not switched colours off (no-color.org)."""
    return not os.environ.get("NO_COLOR")


def width_of_terminal() -> int:
    """Return the columns of the terminal: those of COLUMNS where it is set, 80 where nobody knows."""
    return shutil.get_terminal_size((80, 24)).columns


def abandon(stream: TextIO) -> None:
    """Point a stream that cannot be written at nothing, so that the interpreter's last flush is quiet."""
    with suppress(OSError, ValueError):
        null = os.open(os.devnull, os.O_WRONLY)
        os.dup2(null, stream.fileno())
        os.close(null)


def _has_number(stream: TextIO, number: int) -> bool:
    try:
        return stream.fileno() == number
    except (OSError, ValueError):
        return False
