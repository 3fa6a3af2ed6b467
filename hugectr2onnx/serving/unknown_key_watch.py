"""The share of keys that a model does not know, slot by slot, and a warning where it rises."""

from __future__ import annotations

import logging
import queue
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from hugectr2onnx.errors import HugeCTR2ONNXError
from hugectr2onnx.ir.types import Array
from hugectr2onnx.serving.served_model import ServedModel

if TYPE_CHECKING:
    from hugectr2onnx.scoring.unknown_keys import KeyCounter, SlotKeys

WATCHED_ROWS = 64
MIN_SECONDS = 1.0
"""Time between two looks: a look costs two runs of the key maps for each slot."""
POLL_SECONDS = 0.2
CLOSE_SECONDS = 10.0
BASELINE_KEYS = 1000
"""Keys of a slot by which its usual share is judged."""
RECENT_KEYS = 1000
"""About so many keys are what is recent."""
MAX_RISE = 0.1
"""Rise of a share, absolute, from which on it is reported."""

_logger = logging.getLogger(__name__)


@dataclass
class SlotShare:
    """The share of unknown keys of one slot: at first, and lately (older keys weigh less)."""

    first_keys: int = 0
    first_unknown: int = 0
    recent_keys: float = 0.0
    recent_unknown: float = 0.0
    is_raised: bool = False

    @property
    def recent(self) -> float:
        return self.recent_unknown / self.recent_keys if self.recent_keys else 0.0

    @property
    def usual(self) -> float:
        return self.first_unknown / self.first_keys if self.first_keys else 0.0

    def add(self, keys: int, unknown: int) -> bool:
        """Take in some keys; True where the share has just risen."""
        if self.first_keys < BASELINE_KEYS:
            self.first_keys += keys
            self.first_unknown += unknown
        kept = max(0.0, 1.0 - keys / RECENT_KEYS)
        self.recent_keys = self.recent_keys * kept + keys
        self.recent_unknown = self.recent_unknown * kept + unknown
        was, self.is_raised = self.is_raised, self._has_risen()
        return self.is_raised and not was

    def _has_risen(self) -> bool:
        is_judged = self.first_keys >= BASELINE_KEYS and self.recent_keys >= RECENT_KEYS / 2
        return is_judged and self.recent - self.usual > MAX_RISE


class UnknownKeyWatch:
    """Looks at the first rows of some requests, in a thread of its own, at most once a second.

    tell: called with the counts of each slot of a look, its recent share, and whether that has just risen.
    """

    def __init__(self, model: ServedModel, tell: Callable[[SlotKeys, float, bool], None]) -> None:
        self._model = model
        self._tell = tell
        self._shares: dict[tuple[str, int], SlotShare] = {}
        self._waiting: queue.Queue[Mapping[str, Array]] = queue.Queue(maxsize=1)
        self._next = 0.0
        self._counter: KeyCounter | None = None
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._watch, name="unknown keys", daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Wait for the look that is under way: onnxruntime must not be at work when the interpreter ends."""
        self._stop.set()
        self._thread.join(CLOSE_SECONDS)

    def see(self, inputs: Mapping[str, Array]) -> None:
        """Offer a request; nothing waits for the look."""
        if time.monotonic() < self._next or self._waiting.full():
            return
        self._next = time.monotonic() + MIN_SECONDS
        try:
            # Copies: a server may use the memory of a request again.
            self._waiting.put_nowait({name: array[:WATCHED_ROWS].copy() for name, array in inputs.items()})
        except queue.Full:
            return

    def look(self, inputs: Mapping[str, Array]) -> None:
        """Count the keys of a request at once. Raises an error of our family where the look-ups cannot be asked."""
        if self._counter is None:
            # Late: it imports a good part of the library, which would delay the start of a server.
            from hugectr2onnx.scoring.unknown_keys import KeyCounter

            self._counter = KeyCounter(self._model.path, self._model.schema, threads=1)
        for counted in self._counter.count(inputs):
            share = self._shares.setdefault((counted.input, counted.slot), SlotShare())
            has_risen = share.add(counted.keys, counted.unknown)
            if has_risen:
                _logger.warning(
                    "%s: the share of unknown keys in slot %d of %s rose from %.0f%% to %.0f%%; is a newer snapshot due?",
                    self._model.name, counted.slot, counted.input, 100 * share.usual, 100 * share.recent,
                )  # fmt: skip
            self._tell(counted, share.recent, has_risen)

    def _watch(self) -> None:
        while not self._stop.is_set():
            try:
                self.look(self._waiting.get(timeout=POLL_SECONDS))
            except queue.Empty:
                continue
            except HugeCTR2ONNXError as error:
                _logger.warning("%s: unknown keys are not counted: %s", self._model.name, error)
                return
            except Exception:
                _logger.exception("%s: the unknown keys of a request were not counted", self._model.name)
