"""Look-ups of converted tables, timed in turn in one process, beside a plain gather of known rows: the limit."""

from __future__ import annotations

import statistics
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.convert_tables import SLOTS, TABLE, shuffled

BATCHES = (1, 64, 1024)
ROUNDS = 21
ROUND_SECONDS = 0.02
WARM_RUNS = 20
LEAST_ROUNDS = 3
MOST_SECONDS = 10
"""For the rounds of a batch: where the table does not fit in memory, a run waits for the disk thousands of times."""


@dataclass(frozen=True, eq=False)
class _Opened:
    """A session, and what opening it took: seconds, and memory that is no mapped file."""

    session: Any
    takes_rows: bool
    seconds: float
    private_bytes: int


def look_up(order: Mapping[str, Any]) -> dict[str, Any]:
    """Microseconds of each model and of the limit; raises RuntimeError where a model of float32 rows gives others."""
    from hugectr2onnx.backend.runtime import sessions

    folder, width, hotness = Path(order["folder"]), int(order["width"]), int(order["hotness"])
    keys = np.memmap(folder / TABLE / "key", "<i8", "r")
    limit = folder / "limit.onnx"
    limit.write_bytes(_plain_gather(len(keys), width, hotness))
    sessions.onnxruntime()
    opened = {"limit": _open(limit, takes_rows=True)}
    opened |= {name: _open(folder / f"{name}.onnx", takes_rows=rows) for name, rows in order["models"].items()}
    times: dict[str, dict[str, float]] = {name: {} for name in opened}
    for batch in BATCHES:
        rows = _popular_rows(batch, hotness, len(keys))
        feeds = {"keys": keys[rows]}, {"keys": rows}
        calls = {name: (each.session, feeds[each.takes_rows]) for name, each in opened.items()}
        _compare(calls, order["exact"] if hotness == 1 else ())
        for name, taken in _in_turn(calls).items():
            times[name][str(batch)] = taken
    models = {
        name: {"open_seconds": each.seconds, "private_bytes": each.private_bytes, "microseconds": times[name]}
        for name, each in opened.items()
    }
    return {"limit": models.pop("limit"), "models": models}


def _plain_gather(rows: int, width: int, hotness: int) -> bytes:
    """The rows of the table's own file by their numbers, not added up."""
    from onnx import TensorProto, helper

    table = TensorProto(name="table", data_type=TensorProto.FLOAT, dims=[rows, width])
    table.data_location = TensorProto.EXTERNAL
    for key, value in {"location": f"{TABLE}/emb_vector", "offset": 0, "length": 4 * rows * width}.items():
        table.external_data.add(key=key, value=str(value))
    shape = helper.make_tensor("shape", TensorProto.INT64, [2], [-1, SLOTS * hotness])
    nodes = [
        helper.make_node("Reshape", ["keys", "shape"], ["flat"]),
        helper.make_node("Gather", ["table", "flat"], ["emb"]),
    ]
    asked = helper.make_tensor_value_info("keys", TensorProto.INT64, ["N", SLOTS, hotness])
    found = helper.make_tensor_value_info("emb", TensorProto.FLOAT, ["N", SLOTS * hotness, width])
    graph = helper.make_graph(nodes, "limit", [asked], [found], [table, shape])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    content: bytes = model.SerializeToString()
    return content


def _open(path: Path, takes_rows: bool) -> _Opened:
    from hugectr2onnx.backend.runtime import sessions

    options = sessions.quiet_options()
    options.intra_op_num_threads = 1
    before, begin = _private(), time.perf_counter()
    session = sessions.open_session(path, options=options)
    return _Opened(session, takes_rows, time.perf_counter() - begin, _private() - before)


def _popular_rows(batch: int, hotness: int, count: int) -> np.ndarray[Any, np.dtype[np.int64]]:
    """Skewed as real keys are: few rows are asked for often. They lie anywhere in the table."""
    ranks = (np.random.default_rng(batch).random((batch, SLOTS, hotness)) ** 3 * count).astype(np.uint64)
    return shuffled(ranks.reshape(-1), count).reshape(ranks.shape).astype(np.int64)


def _compare(calls: Mapping[str, tuple[Any, Mapping[str, Any]]], exact: Sequence[str]) -> None:
    (expected,) = calls["limit"][0].run(None, calls["limit"][1])
    for name in exact:
        (found,) = calls[name][0].run(None, calls[name][1])
        if not np.array_equal(found, expected):
            raise RuntimeError(f"{name} gives other rows than those of the table")


def _in_turn(calls: Mapping[str, tuple[Any, Mapping[str, Any]]]) -> dict[str, float]:
    """The median over rounds; in each round every model runs for about as long, after a run that nobody times.

    What the others left in the processor's caches is none of a model's business.
    """
    taken: dict[str, list[float]] = {name: [] for name in calls}
    runs = {name: _runs_a_round(*call) for name, call in calls.items()}
    end = time.perf_counter() + MOST_SECONDS
    for number in range(ROUNDS):
        if number >= LEAST_ROUNDS and time.perf_counter() > end:
            break
        for name, call in calls.items():
            _seconds(*call, 1)
            taken[name].append(_seconds(*call, runs[name]))
    return {name: statistics.median(seconds) * 1e6 for name, seconds in taken.items()}


def _runs_a_round(session: Any, feed: Mapping[str, Any]) -> int:
    if _seconds(session, feed, 1) > ROUND_SECONDS and _seconds(session, feed, 1) > ROUND_SECONDS:
        return 1
    _seconds(session, feed, WARM_RUNS)
    return max(1, int(ROUND_SECONDS / _seconds(session, feed, WARM_RUNS)))


def _seconds(session: Any, feed: Mapping[str, Any], runs: int) -> float:
    begin = time.perf_counter()
    for _ in range(runs):
        session.run(None, feed)
    return (time.perf_counter() - begin) / runs


def _private() -> int:
    """Anonymous memory of this process; 0 where the system does not tell."""
    try:
        lines = Path("/proc/self/status").read_text(encoding="utf-8").splitlines()
    except OSError:
        return 0
    return next((int(line.split()[1]) * 1024 for line in lines if line.startswith("RssAnon:")), 0)
