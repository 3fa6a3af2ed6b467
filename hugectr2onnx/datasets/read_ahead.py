"""Items that a thread makes ahead of the one that takes them."""

from __future__ import annotations

import queue
import threading
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, TypeVar

T = TypeVar("T")


def read_ahead(items: Iterator[T], most: int) -> Iterator[T]:
    """Yield the same items, made in a thread that is at most so many ahead of the caller; each waits in memory.

    An error of the thread is raised here, behind the items before it. Closing the iterator ends the thread.
    """
    ready: queue.Queue[Any] = queue.Queue(most)
    stopped = threading.Event()

    def offer(item: object) -> bool:
        while not stopped.is_set():
            with suppress(queue.Full):
                ready.put(item, timeout=0.1)
                return True
        return False

    def work() -> None:
        try:
            for item in items:
                if not offer(item):
                    return
            offer(None)
        except BaseException as error:
            offer(_Failed(error))

    thread = threading.Thread(target=work, name="hugectr2onnx-reader", daemon=True)
    thread.start()
    try:
        while (item := ready.get()) is not None:
            if isinstance(item, _Failed):
                raise item.error
            yield item
    finally:
        stopped.set()
        thread.join()


@dataclass(frozen=True)
class _Failed:
    """An error of the thread."""

    error: BaseException
