"""Where everything goes: human text to stderr, data to stdout as JSON, progress to a terminal only."""

from __future__ import annotations

import json
import math
import os
import sys
import time
import traceback
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, TextIO

from hugectr2onnx.cli.flags import described
from hugectr2onnx.cli.text_table import cell, duration, plain_table, printable, rich_console, rich_table, size
from hugectr2onnx.errors import HugeCTR2ONNXError
from hugectr2onnx.options import Progress

Saved = Callable[[int, int], None]
Rows = Sequence[Sequence[object]]

SAY_EVERY = 0.2
_COLOURS = {"error": "31", "warning": "33", "good": "32", "title": "1"}


class OutputClosedError(Exception):
    """Standard output cannot be written, such as to a full disk; the message has been shown."""

    exit_code = 3


class Output:
    """What the verbs write to. With `json` the human text is left out, except for errors."""

    def __init__(self, *, json: bool = False, human: TextIO | None = None, data: TextIO | None = None):
        self.json = json
        # Python has None for a stream that was closed before it started.
        self._human = human or sys.stderr or _nowhere()
        self._data = data or sys.stdout or _nowhere()
        self._has_written = False
        self._is_terminal = _is_terminal(self._human)
        self._colours = self._is_terminal and _wants_colour()
        self._rich = rich_console(self._human) if self._is_terminal and not json else None

    # Human text

    def say(self, text: str = "", style: str = "") -> None:
        """A line for the reader; nothing with `--json`."""
        if not self.json:
            self._write(self._styled(printable(text), style))

    def title(self, text: str) -> None:
        """A heading, with an empty line before it where something stands before it."""
        if self._has_written:
            self.say()
        self.say(text, "title")

    def warning(self, text: str) -> None:
        self.say(f"warning: {text}", "warning")

    def problem(self, text: str) -> None:
        """An error: shown with `--json` too."""
        self._write(self._styled(printable(text), "error"))

    def failure(self, error: HugeCTR2ONNXError) -> None:
        """An error of the library: its message with the context; as data too, where data is expected."""
        self.problem(f"error: {described(error)}")
        if self.json:
            self.data({"error": failure_data(error)})

    def traceback(self) -> None:
        self._write(printable(traceback.format_exc()))

    def table(self, columns: Sequence[str], rows: Rows, right: Sequence[str] = ()) -> None:
        """Rows under column heads; the columns named in `right` are aligned so."""
        if self.json or not rows:
            return
        cells = [[printable(cell(value), newline=" ") for value in row] for row in rows]
        if self._rich is not None:
            rich_table(self._rich, columns, cells, right)
            return
        for line in plain_table(columns, cells, right):
            self._write(line)

    # Data

    def data(self, value: Mapping[str, object]) -> None:
        """One JSON document on stdout; a reader that has gone away is none of our business."""
        try:
            self._data.write(json.dumps(plain(value), indent=2, ensure_ascii=True, allow_nan=False) + "\n")
            self._data.flush()
        except BrokenPipeError:
            _abandon(self._data)
        except OSError as error:
            _abandon(self._data)
            self.problem(f"error: cannot write to standard output: {error.strerror or error}")
            raise OutputClosedError from error

    # Progress

    @contextmanager
    def progress(self) -> Iterator[Progress | None]:
        """A callback that shows stages on a terminal, None elsewhere."""
        if not self._is_terminal or self.json:
            yield None
            return
        try:
            yield self._show_stage
        finally:
            self._write("\r\x1b[K", end="")

    def _show_stage(self, name: str, share: float) -> None:
        done = round(20 * share)
        self._write(f"\r\x1b[K[{'#' * done}{'.' * (20 - done)}] {name}", end="")

    @contextmanager
    def saving(self) -> Iterator[Saved | None]:
        """A callback that shows bytes, bytes a second and the time left on a terminal, None elsewhere."""
        if not self._is_terminal or self.json:
            yield None
            return
        try:
            yield Pace(lambda text: self._write(f"\r\x1b[K{text}", end=""))
        finally:
            self._write("\r\x1b[K", end="")

    def close(self) -> None:
        """Flush, so that nothing can fail when the interpreter shuts down."""
        for stream in (self._data, self._human):
            try:
                stream.flush()
            except (OSError, ValueError):
                _abandon(stream)

    def _styled(self, text: str, style: str) -> str:
        return f"\x1b[{_COLOURS[style]}m{text}\x1b[0m" if style and self._colours else text

    def _write(self, text: str, end: str = "\n") -> None:
        self._has_written = True
        try:
            self._human.write(text + end)
            self._human.flush()
        except (OSError, ValueError):
            _abandon(self._human)


class Pace:
    """How fast bytes are written, said at most five times a second."""

    def __init__(self, show: Callable[[str], None], clock: Callable[[], float] = time.monotonic):
        self._show, self._clock = show, clock
        self._start = clock()
        self._said = -1.0

    def __call__(self, done: int, total: int) -> None:
        passed = self._clock() - self._start
        if 0 <= passed - self._said < SAY_EVERY and self._said >= 0:
            return
        self._said = passed
        rate = done / passed if passed > 0 else 0.0
        pace = f", {size(int(rate))}/s, {duration((total - done) / rate)} left" if rate else ""
        self._show(f"writing {size(done)} of {size(total)}{pace}")


def failure_data(error: HugeCTR2ONNXError) -> dict[str, object]:
    """An error as data."""
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


def _nowhere() -> TextIO:
    return open(os.devnull, "w", encoding="utf-8")


def _is_terminal(stream: TextIO) -> bool:
    try:
        return stream.isatty() and os.environ.get("TERM") != "dumb"
    except (OSError, ValueError):
        return False


def _wants_colour() -> bool:
    return not os.environ.get("NO_COLOR")


def _abandon(stream: TextIO) -> None:
    """Point a stream that cannot be written at nothing, so that the interpreter's last flush is quiet."""
    try:
        null = os.open(os.devnull, os.O_WRONLY)
        os.dup2(null, stream.fileno())
        os.close(null)
    except (OSError, ValueError):
        pass
