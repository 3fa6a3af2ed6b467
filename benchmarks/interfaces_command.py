"""`python -m benchmarks interfaces`: one look-up with keys in every form of the interface, timed in turn.

"frozen" is the form that onnxruntime gets where the third dimension is the largest nnz of training: for comparison.
"""

from __future__ import annotations

import argparse
import fnmatch
import json
import sys
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.errors import BenchmarkError
from benchmarks.markdown import markdown
from hugectr2onnx import passes
from hugectr2onnx.backend.onnx.emitter import emit
from hugectr2onnx.backend.runtime.sessions import onnxruntime
from hugectr2onnx.frontend.embeddings.interface import KeyInputs
from hugectr2onnx.frontend.graph_json.clauses import DataClause, Label, SparseInput
from hugectr2onnx.ir.feeds import fed_values, request
from hugectr2onnx.ir.graph import Graph
from hugectr2onnx.ir.ops.lookup import Embedding
from hugectr2onnx.ir.ops.shape import Reshape
from hugectr2onnx.ir.types import Array, N
from hugectr2onnx.latency import figures, machine, turns
from hugectr2onnx.latency.bound_calls import BoundCalls, Settings
from hugectr2onnx.passes.lookups.choose_key_map import choose_key_map
from hugectr2onnx.passes.lookups.flatten_keys import flatten_keys

FORMS = ("frozen", "padded", "csr", "hugectr")
ROUNDS = 9
ROWS, WIDTH = 100_000, 16


@dataclass(frozen=True)
class KeysCase:
    """`counts`: how many keys the slots of a sample have, drawn anew from these for each; `largest` is training's nnz."""

    slots: int
    largest: int
    counts: tuple[int, ...]
    wide: int = 0
    """Keys of one slot of the first sample, more than all others have."""

    def padded(self, batch: int) -> Array:
        """Keys i64[N, slots, nnz] of a batch, at the width of its fullest slot."""
        generator = np.random.default_rng(0)
        counts = generator.choice(self.counts, (batch, self.slots, 1))
        if self.wide:
            counts[0, 0] = self.wide
        places = np.arange(max(1, counts.max()))
        return np.where(places < counts, generator.integers(0, ROWS, (batch, self.slots, len(places))), -1)


CASES = {
    "one key": KeysCase(26, 1, (1,)),
    **{f"{nnz} keys": KeysCase(26, nnz, (nnz,)) for nnz in (2, 3, 5, 8)},
    "1 to 5 keys": KeysCase(26, 5, (1, 2, 3, 4, 5)),
    "one slot of 40": KeysCase(27, 1000, (1,), wide=40),
    "one slot of 1,000": KeysCase(27, 1000, (1,), wide=1000),
}


@dataclass(frozen=True)
class Timed:
    """Microseconds of a call by form; forms that a case does not have are missing."""

    case: str
    batch: int
    threads: int
    keys: int
    microseconds: Mapping[str, float]


def add_arguments(verb: argparse.ArgumentParser) -> None:
    verb.add_argument("cases", nargs="*", metavar="CASE", help=f"{', '.join(CASES)}; * allowed; all if none")
    verb.add_argument("--batch", type=int, default=64, help="samples of a call (64)")
    verb.add_argument("--threads", type=int, default=1, help="threads of onnxruntime (1)")
    verb.add_argument("--seconds", type=float, default=3.0, help="for each case (3)")
    verb.add_argument("--json", type=Path, help="append a JSON line for each case to this file")


def run(arguments: argparse.Namespace) -> int:
    """Measure and print a table; raises BenchmarkError for a case that there is not."""
    names = [name for name in CASES if _is_wanted(name, arguments.cases)]
    if not names:
        raise BenchmarkError(f"no case {arguments.cases[0]}; there are {', '.join(CASES)}")
    found = []
    for name in names:
        sys.stderr.write(f"{name}\n")
        found.append(time_case(name, arguments.batch, arguments.seconds, Settings(threads=arguments.threads)))
        if arguments.json:
            with arguments.json.open("a", encoding="utf-8") as lines:
                line = {"kind": "interface", "machine": machine.describe(), **asdict(found[-1])}
                lines.write(json.dumps(line) + "\n")
    sys.stdout.write(
        markdown(("keys of a slot", "keys", *(f"{form}, µs" for form in FORMS)), [_row(each) for each in found])
    )
    return 0


def _is_wanted(name: str, patterns: Sequence[str]) -> bool:
    return not patterns or any(fnmatch.fnmatchcase(name, pattern) for pattern in patterns)


def _row(timed: Timed) -> list[str]:
    times = (timed.microseconds.get(form) for form in FORMS)
    return [timed.case, f"{timed.keys:,}", *("-" if time is None else f"{time:,.0f}" for time in times)]


def time_case(name: str, batch: int, seconds: float, settings: Settings) -> Timed:
    """Time every form on the same keys in turn, for about `seconds`."""
    case = CASES[name]
    padded = case.padded(batch)
    calls, answers = {}, []
    for form in FORMS:
        graph = _graph(case, form)
        (keys,) = fed_values(graph)
        fed = padded
        if form == "frozen":
            fed = np.full((*padded.shape[:2], case.largest), -1)
            fed[..., : padded.shape[2]] = padded
        feeds = request(graph, {keys: fed}, batch)
        session = _session(graph, settings)
        answers.append(session.run(None, feeds)[0])
        calls[form] = BoundCalls(session, [feeds]).calls()
    for answer in answers:
        np.testing.assert_allclose(answer, answers[0], rtol=1e-4, atol=1e-4)
    rounds = turns.in_turn(calls, rounds=ROUNDS, seconds=seconds)
    times = {form: 1e6 * float(np.median(figures.round_medians(each))) for form, each in rounds.items()}
    return Timed(name, batch, settings.threads, int((padded >= 0).sum()), times)


def _graph(case: KeysCase, form: str) -> Graph:
    """One look-up and the Reshape behind it."""
    graph = Graph()
    sparse = SparseInput("keys", case.slots, (case.largest,) * case.slots, is_fixed_length=False)
    data = DataClause((Label("label", 1),), "dense", 0, (sparse,))
    is_frozen = form == "frozen"
    inputs = KeyInputs("padded" if is_frozen else form, fixed=["keys"] if is_frozen else [])
    keys = inputs.declare(graph, data, ["keys"])["keys"]
    vectors = np.random.default_rng(1).normal(size=(ROWS, WIDTH)).astype(np.float32)
    table = keys.column(graph, np.arange(ROWS), "table.keys"), graph.const(vectors, "table.vectors")
    pooled = keys.look_up(Embedding("sum", 0.0), *table)
    graph.output({"pooled": Reshape((N, case.slots * WIDTH))(pooled)})
    return graph


def _session(graph: Graph, settings: Settings) -> Any:
    built = graph.clone()
    passes.run(built, 2)
    choose_key_map(built)
    flatten_keys(built)
    model = emit(built, graph_name="interface", opset=17, version="0", metadata={}).inline()
    return onnxruntime().InferenceSession(
        model.SerializeToString(), settings.options(), providers=["CPUExecutionProvider"]
    )
