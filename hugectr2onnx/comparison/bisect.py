"""`bisect`: the first pass, and the first fire of a rule, after which a graph computes something else."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from hugectr2onnx import passes
from hugectr2onnx.comparison.compare import compare
from hugectr2onnx.comparison.feeds import choose_feeds
from hugectr2onnx.comparison.result import FirstDifference
from hugectr2onnx.comparison.sides import ModelSide
from hugectr2onnx.compiler import compile
from hugectr2onnx.errors import HugeCTR2ONNXError, ParityError, PassError
from hugectr2onnx.frontend.loading import load
from hugectr2onnx.frontend.resolved_options import resolve_options
from hugectr2onnx.ir.evaluator import evaluate
from hugectr2onnx.ir.expectation import Expectation, expect
from hugectr2onnx.ir.graph import Graph
from hugectr2onnx.ir.types import Array
from hugectr2onnx.options import Options, Progress
from hugectr2onnx.passes import EXACT_LEVEL, FINISHING, PIPELINES, Pass
from hugectr2onnx.passes.lookups.row_number_inputs import row_number_inputs
from hugectr2onnx.verification.causes import ModelSource

_ROWS = 16


@dataclass(frozen=True)
class OutputChange:
    """The output that changed, and by how much where how much is allowed."""

    name: str
    max_error: float
    tolerance: float


@dataclass(frozen=True, eq=False)
class Fault:
    """The run of a pass that changed the result: its `run`-th that changed anything, and in it the `fire`-th fire of a rule.

    `before` and `after` stand around that one fire, or around the whole pass where its fires cannot be taken one by one
    (`rule` is then empty). `error` is what the pass raised, where it failed.
    """

    pass_name: str
    run: int
    change: OutputChange
    before: Graph
    after: Graph
    feeds: Mapping[str, Array]
    rule: str = ""
    fire: int = 0
    fires: int = 0
    error: str = ""

    @property
    def layers(self) -> tuple[str, ...]:
        """The layers of the nodes that the fire took away."""
        left = Counter((node.op.mnemonic, node.sources) for node in self.after)
        gone = [node for node in self.before if (node.op.mnemonic, node.sources) not in left]
        return tuple(dict.fromkeys(source for node in gone for source in node.sources))

    @property
    def text(self) -> str:
        if self.error:
            return f"pass {self.pass_name} fails: {self.error}"
        rule = f", fire {self.fire} of {self.fires}, rule {self.rule}" if self.rule else ""
        layers = f" on {', '.join(self.layers)}" if self.layers else ""
        change = self.change
        return (
            f"pass {self.pass_name} (run {self.run}){rule}{layers}: it changes output {change.name} by up to "
            f"{change.max_error:.3g}, where {change.tolerance:.3g} is allowed"
        )


@dataclass(frozen=True)
class Bisection:
    """`runs` of passes changed the graph; `fault` is the first that changed the result.

    Where no pass did, `first` tells the layer at which the file that is written departs from the graph, if it does.
    """

    level: int
    runs: int
    feeds: str
    fault: Fault | None = None
    first: FirstDifference | None = None

    @property
    def passed(self) -> bool:
        return self.fault is None and self.first is None

    @property
    def text(self) -> str:
        if self.fault is not None:
            return self.fault.text
        if self.first is not None:
            return f"no pass changes the result; what is written departs: {self.first.text}"
        return f"level {self.level}: {self.runs} runs of passes changed the graph, and none the result ({self.feeds})"

    def to_dict(self) -> dict[str, Any]:
        """Return everything but the graphs, as JSON-ready data."""
        fault = self.fault
        found = None
        if fault is not None:
            found = {
                "pass": fault.pass_name,
                "run": fault.run,
                "rule": fault.rule,
                "fire": fault.fire,
                "fires": fault.fires,
                "layers": list(fault.layers),
                "output": fault.change.name,
                "max_error": fault.change.max_error,
                "tolerance": fault.change.tolerance,
                "error": fault.error,
            }
        first = None if self.first is None else {"layer": self.first.layer, "tensor": self.first.tensor}
        return {"passed": self.passed, "level": self.level, "runs": self.runs, "fault": found, "first": first}


def bisect(
    graph: Any,
    weights: Any,
    opt_level: int | None = None,
    *,
    options: Options | None = None,
    data: Any = None,
    rows: int = _ROWS,
    seed: int = 0,
    progress: Progress | None = None,
) -> Bisection:
    """Find the first pass, and in it the first fire of a rule, after which a HugeCTR model computes something else.

    After every pass the graph is evaluated in float64 on the data (an .npz file or a mapping of inputs; random samples
    without) and compared with what it gave before any pass. Level 1 must change nothing at all, beyond it the tolerance is
    that of `compile`'s proof. Where no pass changes the result the model is written too, and compared layer by layer.

    Raises what loading the model raises, and FeedError for data that do not fit it.
    """
    chosen = options or Options()
    resolved = resolve_options(chosen if opt_level is None else chosen.changed(opt_level=opt_level))
    level = resolved.options.opt_level
    loaded = load(graph, weights, resolved)
    side = ModelSide("the model", ModelSource(graph, weights, resolved, loaded))
    batches = choose_feeds(side, side, data, rows, seed)
    feeds = next(iter(batches.batches))
    ir = loaded.graph
    row_number_inputs(ir, resolved.options.keys)
    watch = Watch(ir, feeds, exact=level <= EXACT_LEVEL)
    try:
        passes.run(ir, level, validate=watch)
    except PassError as error:
        return Bisection(level, watch.runs, batches.name, _narrowed(watch, level, error))
    first = _written(graph, weights, resolved.options, feeds, progress)
    return Bisection(level, watch.runs, batches.name, first=first)


@dataclass
class Watch:
    """Translation validation on given feeds that keeps the graph as it was before the pass that fails."""

    graph: Graph
    feeds: Mapping[str, Array]
    exact: bool
    runs: int = 0
    before: Graph = field(init=False)
    expected: Expectation = field(init=False)
    failed: str = ""

    def __post_init__(self) -> None:
        self.before = self.graph.clone()
        batch = max((len(array) for array in self.feeds.values()), default=1)
        self.expected = expect(self.before, self.before.outputs, self.feeds, batch)

    def check(self, graph: Graph, pass_name: str) -> None:
        """Raise PassError if an output differs."""
        self.runs += 1
        change = self.change(graph)
        if change is not None:
            self.failed = pass_name
            raise PassError(f"{pass_name} changes output {change.name} by up to {change.max_error:.3g}")
        self.before = graph.clone()

    def change(self, graph: Graph) -> OutputChange | None:
        """Return the output that is furthest from what it was, beyond the tolerance."""
        worst: OutputChange | None = None
        for name, found in evaluate(graph, self.feeds).items():
            reference = self.expected.reference[name]
            if found.shape != reference.shape:
                return OutputChange(name, float("inf"), 0.0)
            error, tolerance = self.expected.errors(name, found)
            allowed = np.zeros_like(tolerance) if self.exact else tolerance
            if not (error > allowed).any():
                continue
            place = np.unravel_index(int(np.where(error > allowed, error, -1.0).argmax()), error.shape)
            if worst is None or error[place] > worst.max_error:
                worst = OutputChange(name, float(error[place]), float(allowed[place]))
        return worst


def _narrowed(watch: Watch, level: int, error: PassError) -> Fault:
    """Return the single fire of the pass that failed."""
    before, feeds = watch.before, watch.feeds
    if not watch.failed:
        name = str(error).split(" failed:")[0].removeprefix("pass ")
        said = str(error.__cause__ or error).splitlines()[0]
        return Fault(name, watch.runs + 1, OutputChange("", float("nan"), 0.0), before, before, feeds, error=said)
    each = next(p for p in (*PIPELINES[level], *FINISHING[level]) if p.__name__ == watch.failed)
    whole, total = _fired(each, before, None)
    change = watch.change(whole)
    assert change is not None
    fault = Fault(watch.failed, watch.runs, change, before, whole, feeds, fires=total.total())
    if watch.change(_fired(each, before, 0)[0]) is not None:
        return fault  # the pass does not work by rules
    good, bad = 0, total.total()
    while bad - good > 1:
        middle = (good + bad) // 2
        parted = watch.change(_fired(each, before, middle)[0]) is not None
        good, bad = (good, middle) if parted else (middle, bad)
    (earlier, counted), (later, all_counted) = _fired(each, before, good), _fired(each, before, bad)
    change = watch.change(later)
    if change is None:
        return fault
    rule = next(iter(all_counted - counted), "")
    return Fault(watch.failed, watch.runs, change, earlier, later, feeds, rule, bad, total.total())


def _fired(each: Pass, before: Graph, fires: int | None) -> tuple[Graph, Counter[str]]:
    """Return a copy of the graph after the first fires of a pass (None: all of them)."""
    copy = before.clone()
    copy.fires_left = fires
    counted = each(copy)
    copy.fires_left = None
    return copy, Counter(counted)


def _written(
    graph: Any, weights: Any, options: Options, feeds: Mapping[str, Array], progress: Progress | None
) -> FirstDifference | None:
    """Return the first layer at which the ONNX model departs from the graph."""
    try:
        compiled = compile(graph, weights, options=options.changed(check=False, dump=None, validate=False))
        result = compare(graph, compiled, weights=weights, data=feeds, options=options, quick=True, progress=progress)
    except ParityError as error:
        return FirstDifference("", "", str(error))
    except HugeCTR2ONNXError:
        raise
    return result.first
