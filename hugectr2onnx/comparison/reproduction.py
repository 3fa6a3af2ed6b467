"""A reproduction of a fault that can be sent to somebody: the part of the graph around one fire, in a folder under 1 MB."""

from __future__ import annotations

import io
import json
import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from hugectr2onnx.backend.onnx import emitter
from hugectr2onnx.backend.saving.writable import output_errors
from hugectr2onnx.comparison.bisect import Fault
from hugectr2onnx.errors import OutputError
from hugectr2onnx.ir.evaluator import evaluate_values
from hugectr2onnx.ir.graph import Graph, Node, Value
from hugectr2onnx.ir.ops.structural import Const, Input, Outputs
from hugectr2onnx.ir.types import Array

MAX_REPRODUCTION_BYTES = 1 << 20
KEPT = 4096
"""Elements of a constant up to which it is written as it is, unless names and weights are to go."""
_OPSET = 17
SURVIVES = 0.1
"""Of the difference must be left where weights are replaced."""
_SCRIPT = '''"""{title}

before.txt and after.txt are the graph around the change, before.onnx and after.onnx the same as ONNX; feeds.npz holds the
inputs, `expected` (float64, before) and `found` (float64, after). Needs numpy and onnxruntime. Exit code 1: it still differs.
"""

import os
import sys

os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")
import numpy as np
import onnxruntime

HERE = os.path.dirname(os.path.abspath(__file__))
with np.load(os.path.join(HERE, "feeds.npz")) as file:
    arrays = dict(file)
expected, found = arrays.pop("expected"), arrays.pop("found")
answers = {{}}
for name in ("before", "after"):
    session = onnxruntime.InferenceSession(os.path.join(HERE, name + ".onnx"), providers=["CPUExecutionProvider"])
    own = {{each.name: arrays[each.name] for each in session.get_inputs()}}
    answers[name] = session.run(None, own)[0]
    print(name, "differs from what was expected by up to", np.abs(answers[name] - expected).max())
difference = np.abs(answers["after"].astype(np.float64) - answers["before"]).max()
print("after differs from before by up to", difference, "and should by", np.abs(found - expected).max())
sys.exit(int(difference > {threshold!r}))
'''


@dataclass(frozen=True)
class Reproduction:
    """The reproduction that was written: its bytes in all, and whether weights and names could be replaced."""

    folder: str
    bytes: int
    nodes: int
    has_own_weights: bool
    has_own_names: bool


def write_reproduction(fault: Fault, folder: str | os.PathLike[str], *, anonymize: bool = False) -> Reproduction:
    """Write before.txt, after.txt, before.onnx, after.onnx, feeds.npz, fault.json and reproduce.py into a new folder.

    Only the part of the graph between values that both sides have in common is kept. Weights of many numbers are replaced by
    random ones where the difference survives it; with `anonymize` all weights are, and all names. Raises OutputError for a
    folder that is there already or cannot be written, and where the reproduction would exceed 1 MB.
    """
    pair = _cut(fault)
    replaced = _with_random_weights(pair, 0 if anonymize else KEPT)
    difference = pair.difference
    has_own = replaced.difference < SURVIVES * difference
    chosen = pair if has_own else replaced
    chosen = chosen.renamed() if anonymize else chosen
    files = dict(_files(fault, chosen, anonymize))
    total = sum(map(len, files.values()))
    if total > MAX_REPRODUCTION_BYTES:
        raise OutputError(f"the reproduction would have {total:,} bytes: the difference does not survive other weights")
    path = Path(folder)
    with output_errors(path):
        path.mkdir(parents=True)
        for name, content in files.items():
            (path / name).write_bytes(content)
    return Reproduction(os.fspath(folder), total, len(chosen.before), has_own, not anonymize)


@dataclass(frozen=True, eq=False)
class _Pair:
    """Two graphs of the same inputs and of one output, and the inputs' values."""

    before: Graph
    after: Graph
    feeds: Mapping[str, Array]

    @property
    def answers(self) -> tuple[Array, Array]:
        sides = (self.before, self.after)
        expected, found = (evaluate_values(side, list(side.outputs.values()), self.feeds)[0] for side in sides)
        return expected, found

    @property
    def difference(self) -> float:
        expected, found = self.answers
        if expected.shape != found.shape:
            return float("inf")
        with np.errstate(all="ignore"):
            return float(np.nan_to_num(np.abs(expected - found), nan=np.inf).max(initial=0.0))

    def renamed(self) -> _Pair:
        """Return the same with inputs x0, x1, ..., the output y and no other name."""
        names = {value.node.name: f"x{number}" for number, value in enumerate(self.before.inputs)}
        before, after = (_copied(side, names, "y") for side in (self.before, self.after))
        return _Pair(before, after, {names[name]: array for name, array in self.feeds.items() if name in names})


# The part that matters


def _cut(fault: Fault) -> _Pair:
    """Return the graphs from the last values that they have in common to the first that differs."""
    before, after = fault.before, fault.after
    ours, theirs = _evaluated(before, fault.feeds), _evaluated(after, fault.feeds)
    common = {name for name in ours.keys() & theirs.keys() if _alike(ours[name], theirs[name])}
    output = fault.change.name
    target = next((name for name in theirs if name in ours and name not in common), None)
    ends = (before.outputs[output], after.outputs[output]) if target is None else (ours[target][0], theirs[target][0])
    inputs = {
        name: ours[name] for name in common if not isinstance(ours[name][0].op, Const) and name not in (target, output)
    }
    sides = [_part(end, inputs, output) for end in ends]
    # Both take the same inputs, in one order.
    used = [name for name in ours if any(name in side for side in sides)]
    graphs = [_part_graph(end, inputs, used, output) for end in ends]
    feeds = {name: np.asarray(ours[name][1]) for name in used}
    feeds = {name: array.astype(np.float32) if array.dtype.kind == "f" else array for name, array in feeds.items()}
    return _Pair(graphs[0], graphs[1], feeds)


def _evaluated(graph: Graph, feeds: Mapping[str, Array]) -> dict[str, tuple[Value, Array]]:
    """Return the values of named nodes of one result, operands before users."""
    nodes = [n for n in graph if n.name and len(n.types) == 1 and not isinstance(n.op, Outputs | Const)]
    seen: dict[str, Value] = {}
    for node in nodes:
        seen.setdefault(node.name, node.results[0])
    arrays = evaluate_values(graph, list(seen.values()), feeds)
    return {name: (value, array) for (name, value), array in zip(seen.items(), arrays, strict=True)}


def _alike(a: tuple[Value, Array], b: tuple[Value, Array]) -> bool:
    if a[0].type != b[0].type or a[1].shape != b[1].shape:
        return False
    if a[1].dtype.kind != "f":
        return bool(np.array_equal(a[1], b[1]))
    return bool(np.allclose(a[1], b[1], rtol=1e-9, atol=1e-12, equal_nan=True))


def _part(end: Value, inputs: Mapping[str, object], output: str) -> set[str]:
    """Return the inputs that a value is made of."""
    found: set[str] = set()
    stack, met = [end], set[Value]()
    while stack:
        value = stack.pop()
        if value in met:
            continue
        met.add(value)
        if value != end and value.node.name in inputs and len(value.node.types) == 1:
            found.add(value.node.name)
        else:
            stack.extend(value.inputs)
    return found


def _part_graph(end: Value, inputs: Mapping[str, tuple[Value, Array]], used: list[str], output: str) -> Graph:
    graph = Graph("reproduction")
    made = {name: graph.input(name, inputs[name][0].type) for name in used}
    copies: dict[Value, Value] = {}

    def copy(node: Node) -> None:
        for operand in node.inputs:
            if operand not in copies:
                take(operand)
        first = graph.add(node.op, *(copies[operand] for operand in node.inputs), name=node.name)
        first.node.sources = node.sources
        copies.update({Value(node, i): Value(first.node, i) for i in range(len(node.types))})

    def take(value: Value) -> None:
        if value != end and value.node.name in made and not isinstance(value.op, Const):
            copies[value] = made[value.node.name]
        else:
            copy(value.node)

    take(end)
    graph.output({output if output not in made else f"{output}_out": copies[end]})
    return graph


def _copied(graph: Graph, names: Mapping[str, str], output: str) -> Graph:
    """Return a copy without names."""
    copy = Graph("reproduction")
    copies: dict[Value, Value] = {}
    for node in graph:
        if isinstance(node.op, Outputs):
            copy.output({output: copies[node.inputs[0]]})
        elif isinstance(node.op, Input):
            copies[node.results[0]] = copy.input(names[node.name], node.op.type)
        else:
            first = copy.add(node.op, *(copies[operand] for operand in node.inputs))
            copies.update({Value(node, i): Value(first.node, i) for i in range(len(node.types))})
    return copy


def _with_random_weights(pair: _Pair, kept: int) -> _Pair:
    """Return constants of more than `kept` elements replaced: the same ones by the same numbers on both sides."""
    made: dict[bytes, Array] = {}

    def other(array: Array) -> Array:
        key = bytes(str((array.shape, array.dtype)), "ascii") + np.ascontiguousarray(array).tobytes()
        if key not in made:
            generator = np.random.default_rng(len(made))
            drawn = generator.normal(float(array.mean()), float(array.std()), array.shape)
            made[key] = drawn.astype(np.float16).astype(array.dtype)
        return made[key]

    sides = []
    for side in (pair.before, pair.after):
        copy = side.clone()
        for node in list(copy):
            if isinstance(node.op, Const) and node.op.array.dtype.kind == "f" and node.op.array.size > max(kept, 1):
                copy.replace(node.results[0], copy.const(other(node.op.array), node.name))
        copy.prune()
        sides.append(copy)
    return _Pair(sides[0], sides[1], pair.feeds)


# Files


def _files(fault: Fault, pair: _Pair, anonymize: bool) -> Iterator[tuple[str, bytes]]:
    expected, found = pair.answers
    for name, graph in (("before", pair.before), ("after", pair.after)):
        yield f"{name}.txt", f"{graph}\n".encode()
        artifact = emitter.emit(graph, graph_name="reproduction", opset=_OPSET, version="", metadata={})
        yield f"{name}.onnx", artifact.inline().SerializeToString(deterministic=True)
    buffer = io.BytesIO()
    np.savez_compressed(buffer, expected=expected, found=found, **pair.feeds)  # type: ignore[arg-type]
    yield "feeds.npz", buffer.getvalue()
    layers = [] if anonymize else list(fault.layers)
    facts = {"pass": fault.pass_name, "rule": fault.rule, "fire": fault.fire, "layers": layers, "error": fault.error}
    yield "fault.json", json.dumps(facts, indent=2).encode()
    title = f"pass {fault.pass_name}" + (f", rule {fault.rule}" if fault.rule else "") + ": the result changes."
    threshold = pair.difference / 2
    yield "reproduce.py", _SCRIPT.format(title=title, threshold=threshold).encode()
