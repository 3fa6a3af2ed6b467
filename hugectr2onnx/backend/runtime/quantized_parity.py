"""Proof by comparison of a model with products of bytes: against what the bytes mean, step by step.

Where an operand lies between two bytes, the last bit of float32 decides which one is taken, and the answers behind it differ
by far more than float32 rounds. So a session shows what it quantizes and the bytes that it takes, and for each of them

1. the operand agrees with the float64 reference, in units of the operand's largest number, by the rule of `ir.tolerance`;
2. scale, zero and bytes are those that the op defines for that very operand (`ir.ops.quantized`), where a number that lies
   within float32's rounding (TIE of a step) of the middle between two bytes may be either of them; where each row has a scale
   of its own that holds for rows of zeros, of the smallest and largest numbers, and of NaN too (`row_probe`);
3. the reference goes on from the session's own bytes, scale and zero.

Everything behind a quantized operand is so compared at the tolerance of any other model. The answers that are compared are
those of the model as it is, without the further outputs.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import onnx
from onnx import helper

from hugectr2onnx.backend.onnx.artifact import Artifact
from hugectr2onnx.backend.runtime import parity, row_probe, touched_rows
from hugectr2onnx.backend.runtime.parity import OutputParity, Parity
from hugectr2onnx.errors import ParityError
from hugectr2onnx.ir import expectation, tolerance
from hugectr2onnx.ir.evaluator import evaluate_values
from hugectr2onnx.ir.expectation import Expectation
from hugectr2onnx.ir.graph import Graph, Node
from hugectr2onnx.ir.op import Op
from hugectr2onnx.ir.ops.quantized import HIGHEST, DynamicQuantize, Quantize, RowQuantize
from hugectr2onnx.ir.types import Array

ROUNDINGS = 4
TIE = HIGHEST * ROUNDINGS * 2.0**-24
"""Steps by which a number may miss the middle between two bytes: some roundings of float32 at the largest byte."""
OPERAND = "operand of "


@dataclass(frozen=True)
class FormatCost:
    """The distance of the answers of a model with products of bytes from the reference that rounds nothing.

    Over all numbers of an output on the generated feeds. It is no error: it is what the format costs.
    """

    output: str
    max_change: float
    mean_change: float


def is_quantized(graph: Graph) -> bool:
    """Tell whether a graph has products of bytes."""
    return any(isinstance(node.op, Quantize) for node in graph)


def check(artifact: Artifact, graph: Graph, expected: Sequence[Expectation]) -> tuple[Parity, tuple[FormatCost, ...]]:
    """Run a model on every feed and compare it with what `graph` means; ParityError where something is out of tolerance.

    graph: what the model was made from, its lookups and bytes included. `expected` are the answers of the graph that
    no pass has touched, from which the costs of the format are told.
    """
    found, costs = measure(artifact, graph, expected)
    if not found.passed:
        raise ParityError("\n".join(found.problems[: parity.MAX_PROBLEMS]))
    return found, costs


def measure(artifact: Artifact, graph: Graph, expected: Sequence[Expectation]) -> tuple[Parity, tuple[FormatCost, ...]]:
    """Return the same; what is out of tolerance is in the result. ParityError for a model that lacks a quantized operand."""
    traced = _Traced.of(artifact, graph)
    feeds = [each.feeds for each in expected]
    seen, answers = touched_rows.run_all(traced.model, feeds), touched_rows.run_all(artifact, feeds)
    steps = [traced.step(each, own) for each, own in zip(expected, seen, strict=True)]
    own = [
        {**parity.named(every, traced.logits, step.reference), **plain}
        for step, every, plain in zip(steps, seen, answers, strict=True)
    ]
    compared = parity.measure([_answers_of(step) for step in steps], own)
    operands = [
        replace(each, problems=(*each.problems, *traced.problems_of_rows(node)))
        for node, each in zip(traced.places, traced.compare_operands(steps, seen), strict=True)
    ]
    costs = tuple(_costs(expected, answers))
    return replace(compared, outputs=(*compared.outputs, *operands)), costs


@dataclass(frozen=True)
class _Places:
    """The tensors of a model that a Quantize is about: operand, bytes, scale, and the zero unless it is constant."""

    x: str
    q: str
    scale: str
    zero: str | None = None

    @property
    def names(self) -> tuple[str, ...]:
        return (self.x, self.q, self.scale, *([self.zero] if self.zero else []))

    def found(self, op: Op, tensors: Mapping[str, Array]) -> tuple[Array, Array, Array, Array]:
        """Return the four as a session gave them."""
        x, q, scale = (tensors[name] for name in (self.x, self.q, self.scale))
        constant = op.zero if isinstance(op, RowQuantize) else 0
        return x, q, scale, tensors[self.zero] if self.zero else np.asarray(constant, np.uint8)


@dataclass(frozen=True, eq=False)
class _Traced:
    """A model that also gives what it quantizes and what it makes of that."""

    model: Artifact
    graph: Graph
    logits: Mapping[str, str]
    places: Mapping[Node, _Places]

    @staticmethod
    def of(artifact: Artifact, graph: Graph) -> _Traced:
        with_logits, logits = parity.with_logits(artifact)
        places = dict(_places(artifact.skeleton.graph, graph))
        model = onnx.ModelProto()
        model.CopyFrom(with_logits.skeleton)
        public = {value.name for value in (*model.graph.input, *model.graph.output)}
        for name in dict.fromkeys(name for own in places.values() for name in own.names):
            if name not in public:
                model.graph.output.append(helper.make_empty_tensor_value_info(name))
        return _Traced(Artifact(model, artifact.tensors), graph, logits, places)

    def step(self, each: Expectation, seen: Mapping[str, Array]) -> Expectation:
        """Tell what the graph answers, going on from the bytes that the model took."""
        given = {
            value: array
            for node, place in self.places.items()
            for value, array in zip(node.results, place.found(node.op, {**each.feeds, **seen})[1:], strict=True)
        }
        values = {**parity.compared_values(self.graph), **{OPERAND + n.name: n.inputs[0] for n in self.places}}
        return expectation.expect(self.graph, values, each.feeds, each.batch, given)

    def compare_operands(
        self, steps: Sequence[Expectation], seen: Sequence[Mapping[str, Array]]
    ) -> Iterator[OutputParity]:
        for node, place in self.places.items():
            assert isinstance(node.op, Quantize)
            pairs = [
                (step, place.found(node.op, {**step.feeds, **every})) for step, every in zip(steps, seen, strict=True)
            ]
            yield _compare_operand(OPERAND + node.name, node.op, pairs)

    def problems_of_rows(self, node: Node) -> Iterator[str]:
        """Tell what is wrong with the bytes and scales of rows that no feed may hold."""
        if not isinstance(node.op, RowQuantize):
            return
        q, scale = node.name, self.places[node].scale
        x, found = row_probe.answers(self.model.skeleton, node, self.places[node].x, (q, scale))
        name, is_finite = OPERAND + node.name, np.isfinite(x).all(axis=-1)
        if found[scale].shape != (*x.shape[:-1], 1):
            yield f"{name}: the scale has shape {found[scale].shape} instead of {(*x.shape[:-1], 1)}"
        elif not np.isnan(found[scale][~is_finite]).all():
            yield f"{name}: a row that is not finite has a scale"
        else:
            zero = np.asarray(node.op.zero, np.uint8)
            wrong = wrong_bytes(node.op, x[is_finite], found[q][is_finite], found[scale][is_finite], zero)
            yield from (f"{name}, rows alone: {each}" for each in wrong)


def _places(model: onnx.GraphProto, graph: Graph) -> Iterator[tuple[Node, _Places]]:
    """Find what each Quantize of the graph became. Raises ParityError where the model quantizes less, or more."""
    makers = {name: node for node in model.node for name in node.output}
    quantizers = [node for node in graph if isinstance(node.op, Quantize)]
    lost = [node.name for node in quantizers if _place(makers, node) is None]
    found = sum(node.op_type in ("DynamicQuantizeLinear", "QuantizeLinear") for node in model.node)
    if lost or found != len(quantizers):
        raise ParityError(f"the model does not quantize what it should: {', '.join(lost) or 'it quantizes more'}")
    for node in quantizers:
        place = _place(makers, node)
        assert place is not None
        yield node, place


def _place(makers: Mapping[str, onnx.NodeProto], node: Node) -> _Places | None:
    maker = makers.get(node.name)
    if maker is None:
        return None
    if isinstance(node.op, DynamicQuantize):
        return _Places(maker.input[0], *maker.output) if maker.op_type == "DynamicQuantizeLinear" else None
    # The rows are divided by their scales, and what comes out is rounded. The emitter numbers the results of a node: NAME are
    # the bytes, NAME_2 the scale (with the sum that tells NaN, which the division does not see).
    divided = makers.get(maker.input[0])
    scale = f"{node.name}_2"
    if maker.op_type != "QuantizeLinear" or divided is None or divided.op_type != "Div" or scale not in makers:
        return None
    return _Places(divided.input[0], node.name, scale)


def _answers_of(step: Expectation) -> Expectation:
    """Return a step without the operands, which are no outputs."""
    return replace(step, reference={n: each for n, each in step.reference.items() if not n.startswith(OPERAND)})


def _compare_operand(
    name: str, op: Quantize, pairs: Sequence[tuple[Expectation, tuple[Array, Array, Array, Array]]]
) -> OutputParity:
    worst, allowed, elements, problems = 0.0, tolerance.TOLERANCE, 0, list[str]()
    for step, (x, q, scale, zero) in pairs:
        if x.shape != step.reference[name].shape:
            problems.append(f"{name} has shape {x.shape} at a batch of {step.batch}, not {step.reference[name].shape}")
            continue
        error, most = _errors_in_units(step, name, x)
        elements += x.size
        if x.size and error.max() >= worst:
            place = np.unravel_index(int(error.argmax()), error.shape)
            worst, allowed = float(error[place]), float(most[place])
        if (error > most).any():
            count = int(np.count_nonzero(error > most))
            problems.append(f"{name} differs from the float64 reference in {count} of {x.size} elements")
        problems += [f"{name} at a batch of {step.batch}: {each}" for each in wrong_bytes(op, x, q, scale, zero)]
    return OutputParity(name, worst, allowed, elements, problems=tuple(problems))


def _errors_in_units(step: Expectation, name: str, x: Array) -> tuple[Array, Array]:
    """Error and tolerance in units of the largest number (a power of two above it, so that the division rounds nothing)."""
    reference = step.reference[name]
    largest = np.abs(reference[np.isfinite(reference)]).max(initial=0.0)
    unit = 2.0 ** np.ceil(np.log2(largest)) if largest > 0 else 1.0
    single = np.float32(unit)
    return tolerance.errors(
        reference / unit,
        step.rounded[name] / single,
        x / single,
        lambda: [each / single for each in step.more_rounded(name)],
    )


def wrong_bytes(op: Quantize, x: Array, q: Array, scale: Array, zero: Array) -> Iterator[str]:
    """Tell what is wrong with an operand's bytes, by what the op says; nothing where x overflows."""
    exact = x.astype(np.float64)
    if not np.isfinite(exact).all():
        return
    wanted, _ = op.grid(exact)
    if scale.shape != wanted.shape:
        yield f"the scale has shape {scale.shape} instead of {wanted.shape}"
        return
    off = ~(np.abs(scale.astype(np.float64) - wanted) <= ROUNDINGS * 2.0**-24 * wanted)
    if off.any():
        yield f"the scale is {float(scale[off].flat[0]):.9g} instead of {float(wanted[off].flat[0]):.9g}"
        return
    scales = scale.astype(np.float64)
    at = np.clip(_exact_zero(op, exact, scales), 0, HIGHEST)
    if abs(float(zero) - at) > 0.5 + TIE:
        yield f"the zero is {int(zero)} instead of {at:.6g}, rounded"
    steps = np.clip(exact / scales + float(zero), 0, HIGHEST)
    wrong = np.abs(q.astype(np.float64) - steps) > 0.5 + TIE
    if wrong.any():
        place = tuple(int(each[0]) for each in np.nonzero(wrong))
        yield f"{int(wrong.sum())} of {x.size} bytes are wrong; {list(place)} is {q[place]} instead of {steps[place]:.6g}"


def _exact_zero(op: Quantize, exact: Array, scale: Array) -> float:
    """Return the zero before it is rounded, by the scale that the model took."""
    return float(-exact.min(initial=0.0) / scale) if isinstance(op, DynamicQuantize) else float(op.grid(exact)[1])


def _costs(expected: Sequence[Expectation], answers: Sequence[Mapping[str, Array]]) -> Iterator[FormatCost]:
    for name in answers[0] if answers else ():
        with np.errstate(all="ignore"):
            pairs = zip(expected, answers, strict=True)
            changes = np.concatenate([np.abs(own[name] - each.reference[name]).reshape(-1) for each, own in pairs])
        changes = changes[np.isfinite(changes)]
        yield FormatCost(name, float(changes.max(initial=0.0)), float(changes.mean()) if changes.size else 0.0)


def check_unquantized(graph: Graph, expected: Sequence[Expectation]) -> None:
    """Prove the passes alone: a graph, in float64, against the answers of the graph that no pass has touched."""
    for each in expected:
        values = graph.outputs
        answers = evaluate_values(graph, list(values.values()), each.feeds)
        parity.compare([each], [dict(zip(values, answers, strict=True))])
