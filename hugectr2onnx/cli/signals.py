"""SIGTERM and SIGHUP end a verb as Ctrl-C does: by an exception, so that what is half done is cleaned up."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from types import FrameType

NAMES = ("SIGTERM", "SIGHUP")


class Stopped(BaseException):
    """A signal asked this process to end; `exit_code` is what shells give for it: 143 and 129."""

    def __init__(self, number: int):
        super().__init__(number)
        self.exit_code = 128 + number


@contextmanager
def stopped_by_signals() -> Iterator[None]:
    """Raise Stopped for the first such signal while the block runs; further ones must not end the cleaning up.

    A signal that is ignored, as under nohup, stays so; outside the main thread nothing changes.
    """
    before = {}
    with suppress(ValueError):
        for name in NAMES:
            number = getattr(signal, name, None)
            if number is not None and signal.getsignal(number) is signal.SIG_DFL:
                before[number] = signal.signal(number, _stop)
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _stop(number: int, _: FrameType | None) -> None:
    for name in NAMES:
        other = getattr(signal, name, None)
        if other is not None and signal.getsignal(other) is _stop:
            signal.signal(other, signal.SIG_IGN)
    raise Stopped(number)
