"""Proof by comparison: what onnxruntime computes against the float64 evaluation of the unoptimised graph.

Every element of every output must satisfy the rule of `ir.tolerance`. Predictions are compared as logits too: a saturated
sigmoid hides errors.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import onnx
from onnx import helper

from hugectr2onnx.backend.onnx.artifact import Artifact
from hugectr2onnx.backend.runtime import touched_rows
from hugectr2onnx.errors import ParityError, UnsupportedError
from hugectr2onnx.ir import tolerance
from hugectr2onnx.ir.evaluator import evaluate_values
from hugectr2onnx.ir.feeds import feeds_for, smallest_batch
from hugectr2onnx.ir.graph import Graph, Node, Value
from hugectr2onnx.ir.ops.elementwise import Sigmoid
from hugectr2onnx.ir.ops.lookup import Lookup
from hugectr2onnx.ir.ops.reduce import Softmax
from hugectr2onnx.ir.types import Array, Batch, Dim, scale

BATCHES = (1, 7, 64)
"""One sample, an odd number, and enough for layers that mix samples; times the smallest batch that the graph allows."""
MOST_ELEMENTS = 1 << 25
"""Elements of one tensor up to which the larger batches are tried."""
MOST_ALONE = 1 << 26
"""Elements of one tensor at the smallest batch, beyond which there is no check."""
RULE = tolerance.RULE
LOGITS = "logits of "


@dataclass(frozen=True, eq=False)
class Expectation:
    """One feed, the reference's answers in float64 and in float32."""

    batch: int
    feeds: Mapping[str, Array]
    reference: Mapping[str, Array]
    rounded: Mapping[str, Array]


@dataclass(frozen=True)
class OutputParity:
    """How one output compared: the largest difference and the tolerance there, over all feeds."""

    name: str
    max_error: float
    tolerance: float
    elements: int


@dataclass(frozen=True)
class Parity:
    """A passed comparison."""

    batches: tuple[int, ...]
    outputs: tuple[OutputParity, ...]
    rule: str = RULE


def expect(graph: Graph, seeds: Sequence[int] = (0,)) -> tuple[Expectation, ...]:
    """Feeds and reference values of a graph that no pass has touched; it upcasts the rows that it reads, never a table."""
    return tuple(_expect_one(graph, batch, seed + batch) for batch in _batches(graph) for seed in seeds)


def _batches(graph: Graph) -> list[int]:
    """Batches at which every dimension is whole and the largest tensor stays small; three feeds where nothing is dynamic."""
    if not any(isinstance(dim, Batch) for value in graph.inputs for dim in value.type.shape):
        return [1, 2, 3]
    unit = smallest_batch(graph)
    sizes = (_size(node) for node in graph)
    widest = max((size.factor for size in sizes if isinstance(size, Batch)), default=1)
    if unit * widest > MOST_ALONE:
        raise UnsupportedError(
            f"this model takes batches of {unit} samples or a multiple of it, because Reshape, GRU or Gather layers count "
            f"samples, and then has a tensor of {int(unit * widest):,} numbers: too many to check. If its sizes are "
            "right, compile it with check=False"
        )
    return [unit * batch for batch in BATCHES if batch == 1 or unit * batch * widest <= MOST_ELEMENTS]


def _size(node: Node) -> Dim:
    """The elements of the largest thing that a node makes, the vectors that a look-up gathers before it pools included."""
    sizes = [type.elements for type in node.types]
    if isinstance(node.op, Lookup):
        sizes.append(scale(node.inputs[0].type.elements, int(node.types[0].concrete(1)[-1])))
    return max(sizes, key=lambda size: size.factor if isinstance(size, Batch) else 0, default=0)


def expect_for(graph: Graph, feeds: Mapping[str, Array], batch: int) -> Expectation:
    """The reference values for given feeds."""
    named = _compared_values(graph)
    values = list(named.values())
    reference = evaluate_values(graph, values, feeds, precision=np.float64)
    rounded = evaluate_values(graph, values, feeds, precision=np.float32)
    return Expectation(batch, feeds, dict(zip(named, reference, strict=True)), dict(zip(named, rounded, strict=True)))


def _expect_one(graph: Graph, batch: int, seed: int) -> Expectation:
    return expect_for(graph, feeds_for(graph, batch, seed), batch)


def _compared_values(graph: Graph) -> dict[str, Value]:
    outputs = graph.outputs
    logits = {LOGITS + name: v.inputs[0] for name, v in outputs.items() if isinstance(v.op, Sigmoid | Softmax)}
    return {**outputs, **logits}


def check(artifact: Artifact, expected: Sequence[Expectation]) -> Parity:
    """Run a model on every feed; raises ParityError where an element is out of tolerance."""
    model, tensors = _with_logits(artifact)
    answers = touched_rows.run_all(model, [each.feeds for each in expected])
    return compare(expected, [_named(found, tensors, each) for found, each in zip(answers, expected, strict=True)])


def compare(expected: Sequence[Expectation], found: Sequence[Mapping[str, Array]]) -> Parity:
    """Compare answers with expectations; raises ParityError where an element is out of tolerance."""
    names = list(dict.fromkeys(name for answers in found for name in answers))
    for each, answers in zip(expected, found, strict=True):
        lost = [name for name in each.reference if name not in answers and not name.startswith(LOGITS)]
        if lost:
            raise ParityError(f"the model has no output {', '.join(map(repr, lost))}")
    outputs = []
    for name in names:
        pairs = [(each, answers[name]) for each, answers in zip(expected, found, strict=True) if name in answers]
        outputs.append(_compare_output(name, pairs))
    return Parity(tuple(dict.fromkeys(each.batch for each in expected)), tuple(outputs))


def _compare_output(name: str, pairs: Sequence[tuple[Expectation, Array]]) -> OutputParity:
    worst, allowed, count = 0.0, tolerance.TOLERANCE, 0
    for each, found in pairs:
        reference, rounded = each.reference[name], each.rounded[name]
        if found.shape != reference.shape:
            raise ParityError(
                f"output {name!r} has shape {found.shape} at a batch of {each.batch}, not {reference.shape}"
            )
        error, most = tolerance.errors(reference, rounded, found)
        bad = np.argwhere(error > most)
        if len(bad):
            raise ParityError(_verdict(name, each, tuple(bad[0]), reference, found, error, most, len(bad)))
        count += found.size
        if found.size and error.max() >= worst:
            place = np.unravel_index(int(error.argmax()), error.shape)
            worst, allowed = float(error[place]), float(most[place])
    return OutputParity(name, worst, allowed, count)


def _verdict(
    name: str,
    each: Expectation,
    place: tuple[int, ...],
    reference: Array,
    found: Array,
    error: Array,
    most: Array,
    bad: int,
) -> str:
    where = f"[{', '.join(map(str, place))}]"
    values = f"{found[place]:.9g} instead of {reference[place]:.9g}"
    return (
        f"output {name!r} differs from the float64 reference in {bad} of {found.size} elements at a batch of "
        f"{each.batch}: {where} is {values}, off by {error[place]:.3g} where {most[place]:.3g} is allowed ({RULE})"
    )


def _with_logits(artifact: Artifact) -> tuple[Artifact, dict[str, str]]:
    """The model with the operands of final sigmoids as further outputs, and what those tensors are called in the reference."""
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
    """The operand of the sigmoid or softmax that makes a prediction, maybe under another shape."""
    node = makers.get(name)
    while node is not None and node.op_type == "Reshape":
        node = makers.get(node.input[0])
    return node.input[0] if node is not None else None


def _named(answers: Mapping[str, Array], tensors: Mapping[str, str], each: Expectation) -> dict[str, Array]:
    named = {tensors.get(name, name): array for name, array in answers.items()}
    return {name: _shaped(name, array, each.reference[name]) for name, array in named.items() if name in each.reference}


def _shaped(name: str, array: Array, reference: Array) -> Array:
    """Logits under the shape of the reference; an output must have it by itself."""
    return array.reshape(reference.shape) if name.startswith(LOGITS) and array.size == reference.size else array
