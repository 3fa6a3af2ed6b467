"""Sessions that all candidates share the settings of, and calls with inputs and outputs bound beforehand."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from hugectr2onnx.backend.runtime.sessions import onnxruntime, quiet_options, run
from hugectr2onnx.ir.types import Array

Feed = Mapping[str, Array]


@dataclass(frozen=True)
class Settings:
    """The session options of every candidate and of every part of the floor.

    Worker threads may spin between runs, as they do by default, but for a fifth of a millisecond instead of some thirty, so
    that the idle sessions of the other candidates take no time from the one that runs. Stopping them with each run would
    have every call wake its threads anew, 15 to 30 microseconds, and the figures would tell where in a call that hurts least.
    """

    threads: int = 1
    inter_threads: int = 1
    spinning: bool = True
    spin_microseconds: int = 200
    optimization: str = "all"

    def options(self, **entries: str) -> Any:
        """Return a new `SessionOptions`; `entries` are further configuration entries of a candidate."""
        options = quiet_options()
        options.intra_op_num_threads = self.threads
        options.inter_op_num_threads = self.inter_threads
        options.add_session_config_entry("session.intra_op.allow_spinning", str(int(self.spinning)))
        options.add_session_config_entry("session.intra_op.spin_duration_us", str(self.spin_microseconds))
        for key, value in entries.items():
            options.add_session_config_entry(key, value)
        levels = onnxruntime().GraphOptimizationLevel
        options.graph_optimization_level = (
            levels.ORT_ENABLE_ALL if self.optimization == "all" else levels.ORT_DISABLE_ALL
        )
        return options

    def to_dict(self) -> dict[str, Any]:
        """Return the settings that all cases share; the threads are part of the case."""
        chosen = {name: value for name, value in asdict(self).items() if name != "threads"}
        return {**chosen, "calls": "run_with_iobinding, inputs and outputs bound beforehand", "execution": "CPU"}


class BoundCalls:
    """One session and, for each feed, a binding to inputs and outputs that lie in memory already.

    Each feed is run once: raises FeedError for one that does not fit the model, or that it fails on.
    """

    def __init__(self, session: Any, feeds: Sequence[Feed]):
        self._session = session
        self._kept: list[Any] = []
        self._bindings = [self._bind(feed) for feed in feeds]

    def calls(self) -> list[Callable[[], None]]:
        """Return a call for each feed."""
        run = self._session.run_with_iobinding
        return [_call(run, binding) for binding in self._bindings]

    def _bind(self, feed: Feed) -> Any:
        results = run(self._session, feed)
        binding = self._session.io_binding()
        for name, array in feed.items():
            binding.bind_ortvalue_input(name, self._value(array))
        for name, result in results.items():
            binding.bind_ortvalue_output(name, self._value(np.empty_like(result)))
        return binding

    def _value(self, array: Array) -> Any:
        array = np.ascontiguousarray(array)
        value = onnxruntime().OrtValue.ortvalue_from_numpy(array)
        self._kept += [array, value]
        return value


def _call(run: Callable[[Any], None], binding: Any) -> Callable[[], None]:
    return lambda: run(binding)
