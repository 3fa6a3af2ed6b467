"""Sum the times of onnxruntime's profiler by operator and by node."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any

from hugectr2onnx.latency.bound_calls import BoundCalls, Feed, Settings

WARM_RUNS = 5
_KERNEL = "_kernel_time"


@dataclass(frozen=True)
class Profile:
    """Microseconds of a run by operator and by node (as (node, operator)), from the median of each node."""

    by_op: Mapping[str, float]
    by_node: Mapping[tuple[str, str], float]

    @property
    def nodes(self) -> int:
        """The number of nodes that onnxruntime runs."""
        return len(self.by_node)

    @property
    def shares(self) -> dict[str, float]:
        """The share of every operator, the largest first."""
        total = sum(self.by_op.values()) or 1.0
        return {op: time / total for op, time in sorted(self.by_op.items(), key=lambda item: -item[1])}

    def slowest(self, count: int) -> list[tuple[str, str, float]]:
        """(node, operator, microseconds a run) of the nodes that take longest."""
        ranked = sorted(self.by_node.items(), key=lambda item: -item[1])[:count]
        return [(node, op, time) for (node, op), time in ranked]


def profile(open_session: Callable[[Any], Any], feeds: Sequence[Feed], settings: Settings, runs: int) -> Profile:
    """Profile a model in a session of its own; the profiler itself makes every node a little slower."""
    with tempfile.TemporaryDirectory() as folder:
        options = settings.options()
        options.enable_profiling = True
        options.profile_file_prefix = str(Path(folder) / "profile")
        session = open_session(options)
        calls = BoundCalls(session, feeds).calls()
        for number in range(WARM_RUNS + runs):
            calls[number % len(calls)]()
        events = json.loads(Path(session.end_profiling()).read_text(encoding="utf-8"))
    return summarise(events, runs)


def summarise(events: Iterable[Mapping[str, Any]], runs: int) -> Profile:
    """Return the profile of the last `runs` runs; those before them warmed up."""
    times: dict[tuple[str, str], list[float]] = {}
    for event in events:
        if event.get("cat") == "Node" and event["name"].endswith(_KERNEL):
            node = event["name"].removesuffix(_KERNEL), event["args"]["op_name"]
            times.setdefault(node, []).append(event["dur"])
    by_node = {node: median(taken[-runs:]) for node, taken in times.items()}
    by_op: dict[str, float] = {}
    for (_, op), time in by_node.items():
        by_op[op] = by_op.get(op, 0.0) + time
    return Profile(by_op, by_node)
