"""Proof by comparison: what onnxruntime computes against the float64 evaluation of the unoptimised graph.

Every element of every output must satisfy the rule of `ir.tolerance`. Predictions are compared as logits too: a saturated
sigmoid hides errors.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import onnx
from onnx import helper

from hugectr2onnx.backend.onnx.artifact import Artifact
from hugectr2onnx.backend.runtime import touched_rows
from hugectr2onnx.errors import ParityError, Setting, UnsupportedError
from hugectr2onnx.ir import expectation, tolerance
from hugectr2onnx.ir.expectation import Expectation as Expectation
from hugectr2onnx.ir.expectation import stays_moderate, wakes_more
from hugectr2onnx.ir.feeds import feeds_for, smallest_batch
from hugectr2onnx.ir.graph import Graph, Node, Value
from hugectr2onnx.ir.hidden_units import HiddenUnits, count, joined
from hugectr2onnx.ir.ops.elementwise import Sigmoid
from hugectr2onnx.ir.ops.lookup import Lookup
from hugectr2onnx.ir.ops.reduce import Softmax
from hugectr2onnx.ir.types import Array, Batch, Dim, scale

PROOF_BATCHES = (1, 7, 64)
"""One sample, an odd number, and enough for layers that mix samples; times the smallest batch that the graph allows."""
_MAX_PROOF_ELEMENTS = 1 << 25
"""Elements of one tensor up to which the larger batches are tried."""
MOST_ALONE = 1 << 26
"""Elements of one tensor at the smallest batch, beyond which there is no check."""
LOGITS = "logits of "
_FEED_SCALES = (0.1, 10.0, 100.0)
"""Of the float features in half of the samples of a batch of MIN_SCALED and more."""
MIN_SCALED = 32
WAKING_SCALES = (100, 10_000, 1_000_000)
"""Of the features of further feeds, which are taken if they wake up hidden units that slept so far."""
MAX_DIFFERENCES = 20
MAX_PROBLEMS = 20


@dataclass(frozen=True)
class Difference:
    """One element of an output that is out of tolerance, the worst of its sample."""

    batch: int
    place: tuple[int, ...]
    found: float
    expected: float
    error: float
    tolerance: float


@dataclass(frozen=True)
class OutputParity:
    """The comparison of one output: the largest difference and the tolerance there, over all feeds.

    `exceeding` elements are out of tolerance; `differences` are some of them, of different samples.
    """

    name: str
    max_error: float
    tolerance: float
    elements: int
    exceeding: int = 0
    differences: tuple[Difference, ...] = ()
    problems: tuple[str, ...] = ()
    """What is wrong, a sentence for each batch."""

    @property
    def passed(self) -> bool:
        return not self.problems


@dataclass(frozen=True)
class Parity:
    """A comparison; `hidden_units` says which part of the model the feeds reach."""

    batches: tuple[int, ...]
    outputs: tuple[OutputParity, ...]
    rule: str = tolerance.RULE
    hidden_units: tuple[HiddenUnits, ...] = ()

    @property
    def passed(self) -> bool:
        return all(output.passed for output in self.outputs)

    @property
    def problems(self) -> tuple[str, ...]:
        """What is wrong with each output at each batch."""
        return tuple(problem for output in self.outputs for problem in output.problems)


def expect(graph: Graph, seeds: Sequence[int] = (0,)) -> tuple[Expectation, ...]:
    """Return feeds and reference values of a graph that no pass has touched; it upcasts the rows that it reads, never a table.

    Feeds of larger and larger features follow where most units of a layer are zero on all the others.
    """
    before = graph.clone()
    batches = _batches(before)
    feeds = [(batch, _scaled_feeds(before, batch, seed + batch)) for batch in batches for seed in seeds]
    expected = [expect_for(before, each, batch) for batch, each in feeds]
    return (*expected, *_expect_waking(before, batches[-1], seeds[0], expected))


def _scaled_feeds(graph: Graph, batch: int, seed: int) -> dict[str, Array]:
    """Return features of several scales in a large batch, of one scale where that would make float32 overflow on the way."""
    if batch >= MIN_SCALED:
        feeds = feeds_for(graph, batch, seed, _FEED_SCALES)
        if stays_moderate(graph, feeds):
            return feeds
    return feeds_for(graph, batch, seed)


def _expect_waking(graph: Graph, batch: int, seed: int, expected: Sequence[Expectation]) -> Iterator[Expectation]:
    """Yield feeds of large features, where half of a layer's units sleep on all others: some units of any model do."""
    known = joined(each.active for each in expected)
    for factor in WAKING_SCALES:
        if not any(2 * units.sum() < len(units) for units in known.values()):
            return
        feeds = feeds_for(graph, batch, seed + factor, (factor,))
        if not wakes_more(graph, feeds, known) or not stays_moderate(graph, feeds):
            continue
        more = expect_for(graph, feeds, batch)
        # Where float32 overflows, a comparison says nothing.
        if all(np.isfinite(array).all() for array in more.rounded.values()):
            known = joined([known, more.active])
            yield more


def _batches(graph: Graph) -> list[int]:
    """Return batches at which every dimension is whole and no tensor is large; three feeds where nothing is dynamic."""
    if not any(isinstance(dim, Batch) for node in graph for type in node.types for dim in type.shape):
        return [1, 2, 3]
    unit = smallest_batch(graph)
    sizes = (_size(node) for node in graph)
    widest = max((size.factor for size in sizes if isinstance(size, Batch)), default=1)
    if unit * widest > MOST_ALONE:
        raise UnsupportedError(
            f"this model takes batches of {unit} samples or a multiple of it, because Reshape, GRU or Gather layers count "
            f"samples, and then has a tensor of {int(unit * widest):,} numbers: too many to check. If its sizes are "
            "right, compile it with ",
            Setting("check", False),
        )
    return [unit * batch for batch in PROOF_BATCHES if batch == 1 or unit * batch * widest <= _MAX_PROOF_ELEMENTS]


def _size(node: Node) -> Dim:
    """Return the elements of the largest thing that a node makes; a look-up gathers vectors before it pools."""
    sizes = [type.elements for type in node.types]
    if isinstance(node.op, Lookup):
        sizes.append(scale(node.inputs[0].type.elements, int(node.types[0].concrete(1)[-1])))
    return max(sizes, key=lambda size: size.factor if isinstance(size, Batch) else 0, default=0)


def expect_for(graph: Graph, feeds: Mapping[str, Array], batch: int) -> Expectation:
    """Return the reference values for given feeds; the graph must not change afterwards."""
    return expectation.expect(graph, compared_values(graph), feeds, batch)


def compared_values(graph: Graph) -> dict[str, Value]:
    """Return the outputs, and the operands of the sigmoids and softmaxes that make them."""
    outputs = graph.outputs
    logits = {LOGITS + name: v.inputs[0] for name, v in outputs.items() if isinstance(v.op, Sigmoid | Softmax)}
    return {**outputs, **logits}


def check(artifact: Artifact, expected: Sequence[Expectation]) -> Parity:
    """Run a model on every feed; raises ParityError where an element is out of tolerance."""
    return compare(expected, run(artifact, expected))


def run(artifact: Artifact, expected: Sequence[Expectation]) -> list[dict[str, Array]]:
    """Return the answers of a model to every feed, the logits behind its predictions among them."""
    model, tensors = with_logits(artifact)
    answers = touched_rows.run_all(model, [each.feeds for each in expected])
    return [named(found, tensors, each.reference) for found, each in zip(answers, expected, strict=True)]


def compare(expected: Sequence[Expectation], found: Sequence[Mapping[str, Array]]) -> Parity:
    """Compare answers with expectations; raises ParityError where an element is out of tolerance."""
    parity = measure(expected, found)
    if not parity.passed:
        raise ParityError("\n".join(parity.problems[:MAX_PROBLEMS]))
    return parity


def measure(expected: Sequence[Expectation], found: Sequence[Mapping[str, Array]]) -> Parity:
    """Compare every output at every batch; what is out of tolerance is in the result. ParityError for a lost output."""
    names = list(dict.fromkeys(name for answers in found for name in answers))
    for each, answers in zip(expected, found, strict=True):
        lost = [name for name in each.reference if name not in answers and not name.startswith(LOGITS)]
        if lost:
            raise ParityError(f"the model has no output {', '.join(map(repr, lost))}")
    outputs = []
    for name in names:
        pairs = [(each, answers[name]) for each, answers in zip(expected, found, strict=True) if name in answers]
        outputs.append(_compare_output(name, pairs))
    batches = tuple(dict.fromkeys(each.batch for each in expected))
    return Parity(batches, tuple(outputs), hidden_units=count(joined(each.active for each in expected)))


def _compare_output(name: str, pairs: Sequence[tuple[Expectation, Array]]) -> OutputParity:
    worst, allowed, elements, exceeding = 0.0, tolerance.TOLERANCE, 0, 0
    differences: list[Difference] = []
    problems: list[str] = []
    for each, found in pairs:
        reference = each.reference[name]
        if found.shape != reference.shape:
            problems.append(
                f"output {name!r} has shape {found.shape} at a batch of {each.batch}, not {reference.shape}"
            )
            continue
        error, most = each.errors(name, found)
        elements += found.size
        if found.size and error.max() >= worst:
            place = np.unravel_index(int(error.argmax()), error.shape)
            worst, allowed = float(error[place]), float(most[place])
        count = int(np.count_nonzero(error > most))
        if count:
            exceeding += count
            own = list(_differences(each.batch, reference, found, error, most))
            differences += own
            problems.append(_problem(name, own[0], count, found.size))
    return OutputParity(
        name, worst, allowed, elements, exceeding, tuple(differences[:MAX_DIFFERENCES]), tuple(problems)
    )


def _differences(batch: int, reference: Array, found: Array, error: Array, most: Array) -> Iterator[Difference]:
    """Yield the worst element of each sample that is out of tolerance, in the order of the samples."""
    excess = np.where(error > most, error, 0.0).reshape(len(error) if error.ndim else 1, -1)
    for row in np.flatnonzero(excess.any(axis=1)):
        flat = int(row) * excess.shape[1] + int(excess[row].argmax())
        place = tuple(map(int, np.unravel_index(flat, error.shape)))
        yield Difference(
            batch, place, float(found[place]), float(reference[place]), float(error[place]), float(most[place])
        )


def _problem(name: str, first: Difference, exceeding: int, elements: int) -> str:
    where = f"[{', '.join(map(str, first.place))}]"
    return (
        f"output {name!r} differs from the float64 reference in {exceeding} of {elements} elements at a batch of "
        f"{first.batch}: {where} is {first.found:.9g} instead of {first.expected:.9g}, off by {first.error:.3g} where "
        f"{first.tolerance:.3g} is allowed ({tolerance.RULE})"
    )


def with_logits(artifact: Artifact) -> tuple[Artifact, dict[str, str]]:
    """Return the model with the operands of final sigmoids as outputs, and the names of those tensors in the reference."""
    graph = artifact.skeleton.graph
    public = {value.name for value in (*graph.input, *graph.output)}
    makers = {node.output[0]: node for node in graph.node if node.op_type in ("Sigmoid", "Softmax", "Reshape")}
    found = {output.name: _logits_of(output.name, makers) for output in graph.output}
    tensors = {tensor: LOGITS + name for name, tensor in found.items() if tensor and tensor not in public}
    model = onnx.ModelProto()
    model.CopyFrom(artifact.skeleton)
    model.graph.output.extend(helper.make_tensor_value_info(tensor, onnx.TensorProto.FLOAT, None) for tensor in tensors)
    return Artifact(model, artifact.tensors), tensors


def _logits_of(name: str, makers: Mapping[str, onnx.NodeProto]) -> str | None:
    """Return the operand of the sigmoid or softmax that makes a prediction, maybe under another shape."""
    node = makers.get(name)
    while node is not None and node.op_type == "Reshape":
        node = makers.get(node.input[0])
    return node.input[0] if node is not None else None


def named(answers: Mapping[str, Array], tensors: Mapping[str, str], reference: Mapping[str, Array]) -> dict[str, Array]:
    """Answers by the names that they have in the reference, those that it does not have left out."""
    renamed = {tensors.get(name, name): array for name, array in answers.items()}
    return {name: _shaped(name, array, reference[name]) for name, array in renamed.items() if name in reference}


def _shaped(name: str, array: Array, reference: Array) -> Array:
    """Return logits under the shape of the reference; an output must have it by itself."""
    return array.reshape(reference.shape) if name.startswith(LOGITS) and array.size == reference.size else array
