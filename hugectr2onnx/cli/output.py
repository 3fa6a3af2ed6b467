"""Write results to standard output, messages to standard error, and progress to a terminal only."""

from __future__ import annotations

import json
import math
import sys
import time
import traceback
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, TextIO

from hugectr2onnx.cli.flags import described
from hugectr2onnx.cli.pace import Pace, RowPace
from hugectr2onnx.cli.streams import abandon, is_terminal, open_null, wants_colour, width_of_terminal
from hugectr2onnx.cli.text_table import cell, printable, table_lines, wrapped
from hugectr2onnx.errors import HugeCTR2ONNXError
from hugectr2onnx.options import Progress

Saved = Callable[[int, int], None]
Counted = Callable[[int, int | None], None]
Rows = Sequence[Sequence[object]]

_COLOURS = {"error": "31", "warning": "33", "good": "32", "title": "1"}


class OutputClosedError(Exception):
    """Standard output cannot be written, such as to a full disk; the message has been shown."""

    exit_code = 3


class Output:
    """The two streams that the verbs write to.

    `say`, `title` and `table` write the result that a person asked for, `data` the same as JSON, both to standard output:
    with `json` the text is left out. `warning`, `problem` and `failure` write to standard error. With `quiet` there are only
    errors and JSON; with `verbose` the stages of the work too.
    """

    def __init__(
        self,
        *,
        json: bool = False,
        quiet: bool = False,
        verbose: bool = False,
        results: TextIO | None = None,
        messages: TextIO | None = None,
    ):
        self.json = json
        self._has_text = not (json or quiet)
        self._is_verbose = verbose
        self._results = _Stream(results or sys.stdout or open_null())
        self._messages = _Stream(messages or sys.stderr or open_null())
        self._shows_progress = self._messages.is_terminal and self._has_text
        self._has_written = False

    # The result, for a reader

    def say(self, text: str = "", style: str = "") -> None:
        """Print a line of the result; nothing with `--json`."""
        if self._has_text:
            self._write_result(self._results.line(printable(text), style))

    def title(self, text: str) -> None:
        """Print a heading, after an empty line where something stands before it."""
        if self._has_written:
            self.say()
        self.say(text, "title")

    def table(self, columns: Sequence[str], rows: Rows, right: Sequence[str] = ()) -> None:
        """Print rows under column heads; the columns named in `right` are aligned so."""
        if not rows or not self._has_text:
            return
        cells = [[printable(cell(value), newline=" ") for value in row] for row in rows]
        head, *lines = table_lines(columns, cells, right, self._results.width)
        if head:
            self._write_result(self._results.styled(head, "title"))
        self._write_result("\n".join(lines))

    # Messages

    def warning(self, text: str) -> None:
        """Print a warning on standard error; with `--json` it is a part of the data."""
        if self._has_text:
            self._messages.write(self._messages.line(printable(f"warning: {text}"), "warning"))

    def problem(self, text: str) -> None:
        """Print an error on standard error, with `--json` too."""
        self._messages.write(self._messages.line(printable(text), "error"))

    def failure(self, error: HugeCTR2ONNXError) -> None:
        """Print an error of the library: its message with the context; as data too, where data is expected."""
        self.problem(f"error: {described(error)}")
        if self.json:
            self.data({"error": failure_data(error)})

    def traceback(self) -> None:
        self._messages.write(printable(traceback.format_exc()))

    # Data

    def data(self, value: Mapping[str, object]) -> None:
        """Print one JSON document on standard output."""
        self._write_result(json.dumps(plain(value), indent=2, ensure_ascii=True, allow_nan=False))

    def _write_result(self, text: str) -> None:
        """Write to standard output; a reader that has gone away is none of our business."""
        self._has_written = True
        try:
            self._results.write_or_raise(text)
        except BrokenPipeError:
            self._results.abandon()
        except OSError as error:
            self._results.abandon()
            self.problem(f"error: cannot write to standard output: {error.strerror or error}")
            raise OutputClosedError from error

    # Progress

    @contextmanager
    def progress(self) -> Iterator[Progress | None]:
        """Return a callback for the stages of a compilation: a bar on a terminal, lines with `verbose`, None elsewhere."""
        if self._is_verbose:
            yield self._log_stage(time.monotonic())
        elif not self._shows_progress:
            yield None
        else:
            with self._erased():
                yield self._show_stage

    def _show_stage(self, name: str, share: float) -> None:
        done = round(20 * share)
        self._messages.write(f"\r\x1b[K[{'#' * done}{'.' * (20 - done)}] {name}", end="")

    def _log_stage(self, start: float) -> Progress:
        def log(name: str, _: float) -> None:
            self._messages.write(f"[{time.monotonic() - start:7.3f} s] {name}")

        return log

    @contextmanager
    def saving(self) -> Iterator[Saved | None]:
        """Yield a callback that shows bytes, bytes a second and the time left on a terminal, None elsewhere."""
        if not self._shows_progress:
            yield None
            return
        with self._erased():
            yield Pace(lambda text: self._messages.write(f"\r\x1b[K{text}", end=""))

    @contextmanager
    def counting(self) -> Iterator[Counted | None]:
        """Yield a callback that shows rows, rows a second and the time left on a terminal, None elsewhere."""
        if not self._shows_progress:
            yield None
            return
        with self._erased():
            yield RowPace(lambda text: self._messages.write(f"\r\x1b[K{text}", end=""))

    @contextmanager
    def _erased(self) -> Iterator[None]:
        """Take the progress line away in the end."""
        try:
            yield
        finally:
            self._messages.write("\r\x1b[K", end="")

    def close(self) -> None:
        """Flush, so that nothing can fail when the interpreter shuts down."""
        self._results.flush()
        self._messages.flush()


class _Stream:
    """A stream for a person or a file, and what it can show."""

    def __init__(self, stream: TextIO):
        self._stream = stream
        self.is_terminal = is_terminal(stream)
        self.has_colours = self.is_terminal and wants_colour()

    @property
    def width(self) -> int | None:
        """The columns of a terminal; None for a file or a pipe, whose lines stay whole for `grep`."""
        return width_of_terminal() if self.is_terminal else None

    def line(self, text: str, style: str = "") -> str:
        """Return text wrapped between words where it is for a terminal, in the colour of a style."""
        return self.styled(wrapped(text, self.width), style)

    def styled(self, text: str, style: str) -> str:
        return f"\x1b[{_COLOURS[style]}m{text}\x1b[0m" if style and self.has_colours else text

    def write(self, text: str, end: str = "\n") -> None:
        """Write a message; a stream that cannot be written is given up."""
        try:
            self.write_or_raise(text, end)
        except (OSError, ValueError):
            self.abandon()

    def write_or_raise(self, text: str, end: str = "\n") -> None:
        self._stream.write(text + end)
        self._stream.flush()

    def flush(self) -> None:
        try:
            self._stream.flush()
        except (OSError, ValueError):
            self.abandon()

    def abandon(self) -> None:
        abandon(self._stream)


def failure_data(error: HugeCTR2ONNXError) -> dict[str, object]:
    """Return an error as data."""
    return {"kind": type(error).__name__, "message": error.describe(), "exit_code": error.exit_code}


def plain(value: object) -> Any:
    """JSON-ready: numbers that JSON cannot hold become text."""
    if isinstance(value, Mapping):
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple | set | frozenset):
        return [plain(item) for item in value]
    if isinstance(value, float) and not math.isfinite(value):
        return str(value)
    if value is None or isinstance(value, bool | int | float | str):
        return value
    return str(value)
